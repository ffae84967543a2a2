"""The film table: how many labelled windows of 10 s with a shot a bundle finds in a film.

The film studio named its labels by their files: ``movie_HH-MM-SS.mmm.wav`` is the 10 s of ``movie``
from that time on and contains a shot. A window is predicted if a score in it reaches the threshold.
A predicted window that overlaps no label is a false positive.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from streamdet.model.bundle import Bundle
from streamdet.model.tagger_bundle import ServedTagger
from streamdet.scoring.labels import WINDOW_S, LabelError, window_label
from train.data.table import read_rows
from train.errors import TrainError
from train.evaluation.scored_sets import SampleScorer, read_samples

_CLOCK = re.compile(r"(?:(?:(\d+):)?(\d{1,2}):)?(\d+(?:\.\d+)?)")
SHOT = "gunshot"


@dataclass(frozen=True)
class FilmWindow:
    """10 s of a film from ``start_s`` on; ``path`` is its own sound file, if it has one."""

    film: str
    start_s: float
    shot: bool = True
    path: Path | None = None


def read_film_windows(source: Path) -> list[FilmWindow]:
    """Read labelled windows from a folder or a CSV file.

    A folder has files named ``movie_HH-MM-SS.mmm.wav``; those in subfolders other than ``gunshot``
    have no shot. A CSV file has a column ``name`` with such names, or ``film`` and ``start``
    (seconds or H:MM:SS), and optionally ``label``, which is ``gunshot`` for windows with a shot.

    Raises TrainError if a name or time can't be read, and if there are no labels.
    """
    windows = list(_read_table(source) if source.is_file() else _read_folder(source))
    if not windows:
        raise TrainError(
            f"{source}: no labels. Give files named movie_HH-MM-SS.mmm.wav or a CSV file."
        )
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
        elif row.get("film") and (clock := _CLOCK.fullmatch(row.get("start") or "")):
            hours, minutes, seconds = clock.groups(default="0")
            film = Path(row["film"]).stem
            start_s = 3600.0 * int(hours) + 60.0 * int(minutes) + float(seconds)
        else:
            raise TrainError(f"{path}: a row needs a name, or a film and a start (H:MM:SS): {row}")
        yield FilmWindow(film, start_s, shot)


def _parse_name(name: str, source: Path) -> tuple[str, float]:
    try:
        label = window_label(str(source), name)
    except LabelError as error:
        raise TrainError(str(error)) from error
    return label.file, label.onset_s


def make_film_table(
    bundle: Bundle,
    films: Sequence[Path],
    windows: Sequence[FilmWindow],
    threshold: float | None = None,
) -> list[dict[str, Any]]:
    """Make the rows of the table, one for each film.

    Without ``films``, there is a row for each film whose labels have files of their own.
    ``threshold`` defaults to that of the bundle's default operating point.

    Raises TrainError for a film without labels, labels without a film, and unreadable files.
    """
    if threshold is None:
        threshold = bundle.operating_points[bundle.default_point].threshold
    detector = _WindowDetector(bundle, threshold)
    labelled = {w.film for w in windows}
    if films and (missing := labelled - {p.stem for p in films}):
        raise TrainError(f"no film given for the labels of {', '.join(sorted(missing))}")
    rows = []
    for film in sorted({p.stem for p in films} or labelled):
        of_film = [w for w in windows if w.film == film]
        if not of_film:
            raise TrainError(f"{film}: no labels for this film")
        path = next((p for p in films if p.stem == film), None)
        correct, alarms = (
            detector.count_windows(of_film) if path is None else detector.count_film(path, of_film)
        )
        shots = sum(w.shot for w in of_film)
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
    """Decides with a bundle whether windows contain a shot."""

    def __init__(self, bundle: Bundle, threshold: float) -> None:
        self.threshold = threshold
        self.scorer = SampleScorer(bundle)
        self.is_tagger = isinstance(bundle.model, ServedTagger)
        self.frame_s = self.scorer.grid.frame / self.scorer.grid.rate

    def detects_shot(self, scores: np.ndarray, start_s: float) -> bool:
        """Return whether the window from ``start_s`` on contains a shot, by (frames,) scores.

        The highest score in the window counts. For a tagger it is the last one, because a frame of
        a tagger covers the 10 s before it.
        """
        first = int(np.ceil(start_s / self.frame_s - 1e-6))
        last = max(first + 1, int((start_s + WINDOW_S) / self.frame_s + 1e-6))
        in_window = scores[first:last]
        in_window = in_window[-1:] if self.is_tagger else in_window
        return bool(len(in_window) and in_window.max() >= self.threshold)

    def count_film(self, path: Path, labels: Sequence[FilmWindow]) -> tuple[int, int]:
        """Count the correct predictions and false positives of a whole film."""
        scores = self._score_file(path)
        shots = [w.start_s for w in labels if w.shot]
        correct = sum(self.detects_shot(scores, start_s) for start_s in shots)
        count = int(np.ceil(len(scores) * self.frame_s / WINDOW_S))
        unlabelled = [
            WINDOW_S * i
            for i in range(count)
            if all(abs(WINDOW_S * i - start_s) >= WINDOW_S for start_s in shots)
        ]
        return correct, sum(self.detects_shot(scores, start_s) for start_s in unlabelled)

    def count_windows(self, labels: Sequence[FilmWindow]) -> tuple[int, int]:
        """Count the correct predictions and false positives of windows with files of their own."""
        correct = alarms = 0
        for window in labels:
            if window.path is None:
                raise TrainError(
                    f"{window.film}: no sound file. Give the film, or its windows as files."
                )
            predicted = self.detects_shot(self._score_file(window.path), 0.0)
            correct += predicted and window.shot
            alarms += predicted and not window.shot
        return correct, alarms

    def _score_file(self, path: Path) -> np.ndarray:
        """The gunshot scores of a file, (frames,) float32: final ones if there is a verifier."""
        return self.scorer.score(read_samples(path, self.scorer.grid.rate))[0].scores[:, 0]


def _describe_data(bundle: Bundle) -> str:
    sources = bundle.card.get("data") or []
    clips = sum(source.get("clips", 0) for source in sources)
    return f"{clips} clips, {len(sources)} sources" if sources else ""


def _describe_loss(bundle: Bundle) -> str:
    """The loss at which the weights were saved or the training ended, from the bundle's card."""
    saved_at = bundle.card.get("kept_at")
    if saved_at is not None:
        return f"{saved_at:g}"
    ended = str(bundle.card.get("ended_by", ""))
    return ended.removeprefix("a loss of ") if ended.startswith("a loss of ") else "validation"
