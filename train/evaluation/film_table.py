"""The film table: a film in windows of 10 s, which of them hold a shot, and what was found.

The film studio named its labels by their files: ``movie_HH-MM-SS.mmm.wav`` is the 10 s of
``movie`` from there on, with a shot in them. A window is predicted where a score in it reaches
the threshold; a window that no label touches and that is predicted all the same is a false
positive.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from streamdet.detection.engine import frames_per_block
from streamdet.detection.jax_engine import JaxEngine
from streamdet.model.bundle import Bundle
from streamdet.model.tagger_bundle import ServedTagger
from streamdet.scoring.labels import WINDOW_S, LabelError, window_label
from train.data.table import read_rows
from train.errors import TrainError
from train.evaluation.scored_sets import BLOCK_S, read_samples, score_samples

_CLOCK = re.compile(r"(?:(?:(\d+):)?(\d{1,2}):)?(\d+(?:\.\d+)?)")
SHOT = "gunshot"


@dataclass(frozen=True)
class FilmWindow:
    """10 s of a film from a second on; ``path`` is its own sound, where there is a file of it."""

    film: str
    start_s: float
    shot: bool = True
    path: Path | None = None


def read_film_windows(source: Path) -> list[FilmWindow]:
    """The windows of a folder of files named in the report's manner, those of a subfolder that
    is not called ``gunshot`` without a shot; or of a CSV file with a column ``name`` of such
    names, or ``film`` and ``start`` (seconds, or H:MM:SS), and, if there are others too, ``label``.

    Raises TrainError where a name or time can't be read, and where there is none.
    """
    windows = list(_read_table(source) if source.is_file() else _read_folder(source))
    if not windows:
        raise TrainError(f"{source}: no label; files named movie_HH-MM-SS.mmm.wav are wanted")
    return sorted(windows, key=lambda w: (w.film, w.start_s))


def _read_folder(folder: Path) -> Iterable[FilmWindow]:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.name.startswith("."):
            film, start_s = _parse_name(path.name, folder)
            yield FilmWindow(film, start_s, path.parent in (folder, folder / SHOT), path)


def _read_table(path: Path) -> Iterable[FilmWindow]:
    for row in read_rows(path):
        shot = (row.get("label") or SHOT) == SHOT
        if row.get("name"):
            film, start_s = _parse_name(row["name"], path)
        elif row.get("film") and (found := _CLOCK.fullmatch(row.get("start") or "")):
            hours, minutes, seconds = found.groups(default="0")
            film = Path(row["film"]).stem
            start_s = 3600.0 * int(hours) + 60.0 * int(minutes) + float(seconds)
        else:
            raise TrainError(f"{path}: a row has neither name nor film and start (H:MM:SS): {row}")
        yield FilmWindow(film, start_s, shot)


def _parse_name(name: str, where: Path) -> tuple[str, float]:
    try:
        label = window_label(str(where), name)
    except LabelError as error:
        raise TrainError(str(error)) from error
    return label.file, label.onset_s


def make_film_table(
    bundle: Bundle,
    films: Sequence[Path],
    windows: Sequence[FilmWindow],
    threshold: float | None = None,
) -> list[dict[str, Any]]:
    """The rows of the table: one for each film that is given, or, where none is, one for each that
    has labels with files of their own. ``threshold`` is the bundle's default if not given.

    Raises TrainError for a film without labels, labels without a film, and what can't be heard.
    """
    if threshold is None:
        threshold = bundle.operating_points[bundle.default_point].threshold
    heard = _WindowDetector(bundle, threshold)
    named = {w.film for w in windows}
    if films and (lost := named - {p.stem for p in films}):
        raise TrainError(f"labels of {', '.join(sorted(lost))}: no such film is given")
    rows = []
    for film in sorted({p.stem for p in films} or named):
        some = [w for w in windows if w.film == film]
        if not some:
            raise TrainError(f"{film}: there are no labels of it")
        path = next((p for p in films if p.stem == film), None)
        correct, alarms = (
            heard.count_windows(some) if path is None else heard.count_film(path, some)
        )
        shots = sum(w.shot for w in some)
        rows.append(
            {
                "model": f"{bundle.name} {bundle.version}",
                "data": _describe_data(bundle),
                "loss": _describe_loss(bundle),
                "threshold": round(threshold, 4),
                "film": film,
                "correct predictions": f"{correct} / {shots}",
                "false positives": alarms,
            }
        )
    return rows


class _WindowDetector:
    """A bundle that answers whether there is a shot in a window."""

    def __init__(self, bundle: Bundle, threshold: float) -> None:
        self.threshold = threshold
        self.engine = JaxEngine(bundle, block_frames=frames_per_block(bundle, BLOCK_S))
        self.remembers = isinstance(bundle.model, ServedTagger)
        self.frame_s = self.engine.grid.frame / self.engine.grid.rate

    def detects_shot(self, scores: np.ndarray, start_s: float) -> bool:
        """Of (frames,) scores of a film, those from a second on: the highest, or of a tagger, whose
        frames have heard the seconds before them, the last."""
        first = int(np.ceil(start_s / self.frame_s - 1e-6))
        last = max(first + 1, int((start_s + WINDOW_S) / self.frame_s + 1e-6))
        some = scores[first:last]
        some = some[-1:] if self.remembers else some
        return bool(len(some) and some.max() >= self.threshold)

    def count_film(self, path: Path, labels: Sequence[FilmWindow]) -> tuple[int, int]:
        """Correct predictions and false positives of a whole film."""
        scores = score_samples(self.engine, read_samples(path, self.engine.grid.rate)).scores[:, 0]
        shots = [w.start_s for w in labels if w.shot]
        correct = sum(self.detects_shot(scores, start_s) for start_s in shots)
        count = int(np.ceil(len(scores) * self.frame_s / WINDOW_S))
        free = [
            WINDOW_S * i
            for i in range(count)
            if all(abs(WINDOW_S * i - start_s) >= WINDOW_S for start_s in shots)
        ]
        return correct, sum(self.detects_shot(scores, start_s) for start_s in free)

    def count_windows(self, labels: Sequence[FilmWindow]) -> tuple[int, int]:
        """The same of windows that are files, each heard alone."""
        correct = alarms = 0
        for window in labels:
            if window.path is None:
                raise TrainError(f"{window.film}: give the film, or its windows as files")
            samples = read_samples(window.path, self.engine.grid.rate)
            found = self.detects_shot(score_samples(self.engine, samples).scores[:, 0], 0.0)
            correct, alarms = (
                correct + (found and window.shot),
                alarms + (found and not window.shot),
            )
        return correct, alarms


def _describe_data(bundle: Bundle) -> str:
    sources = bundle.card.get("data") or []
    clips = sum(source.get("clips", 0) for source in sources)
    return f"{clips} clips, {len(sources)} sources" if sources else ""


def _describe_loss(bundle: Bundle) -> str:
    """The loss that a run was ended by or its weights were kept at, as the card says."""
    kept = bundle.card.get("kept_at")
    if kept is not None:
        return f"{kept:g}"
    ended = str(bundle.card.get("ended_by", ""))
    return ended.removeprefix("a loss of ") if ended.startswith("a loss of ") else "validation"
