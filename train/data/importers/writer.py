"""Write the clips of a public set as a data folder: 16 kHz mono FLAC, manifest and events.

``classes.csv`` maps the classes of each set to our categories and labels. If a clip has several
classes, the first row of the table wins, so a set's rows are in order of preference, with a class
before its parents. A clip without a class in the table is left out.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import soundfile
import soxr
from rich.console import Console
from rich.progress import track

from streamdet.constants import RATE
from train.data.checks import COLUMNS, SPLITS
from train.data.importers.clip import SourceClip
from train.data.importers.sets import IMPORTERS, PublicSet
from train.data.table import read_rows
from train.errors import TrainError

TABLE = Path(__file__).with_name("classes.csv")
EVENT_S = 0.3
"""Length of the event that an arrival time becomes."""


@dataclass
class ImportSummary:
    """What an import wrote and what it left out.

    ``unmapped`` counts clips by their first class. ``missing`` are files that the metadata names
    and the folder lacks. ``broken`` are unusable files with the reason. ``moved`` counts clips
    whose split was changed to that of the rest of their group.
    """

    written: int = 0
    moved: int = 0
    unmapped: Counter[str] = field(default_factory=Counter)
    missing: list[Path] = field(default_factory=list)
    broken: list[tuple[Path, str]] = field(default_factory=list)


class _UnusableSoundError(Exception):
    """A file that is not sound or is silent; the message says which."""


def import_set(name: PublicSet, folder: Path, to: Path) -> ImportSummary:
    """Make the data folder ``to`` from a public set in ``folder``.

    Raises TrainError if the set's metadata can't be read, ``to`` is already a data folder or can't
    be written, or no clip can be imported.
    """
    try:
        summary = _import_files(name, folder, to)
    except OSError as error:
        path = error.filename or to
        raise TrainError(f"{path}: can't be read or written: {error.strerror}") from error
    if not summary.written:
        raise TrainError(_explain_nothing(folder, summary))
    return summary


def _import_files(name: PublicSet, folder: Path, to: Path) -> ImportSummary:
    if (to / "manifest.csv").exists():
        raise TrainError(f"{to}: already a data folder. Give a new folder.")
    if not folder.is_dir():
        raise TrainError(f"{folder}: no such folder")
    table, summary = read_class_table(name), ImportSummary()
    present = [c for c in IMPORTERS[name](folder) if _is_importable(c, table, summary)]
    clips, summary.moved = unify_splits(present)
    _write_folder(to, clips, table, summary)
    return summary


def read_class_table(name: PublicSet) -> dict[str, dict[str, str]]:
    """Read the rows of a set's classes, in order of preference."""
    return {row["class"]: row for row in read_rows(TABLE) if row["set"] == name}


def find_class(classes: Sequence[str], table: dict[str, dict[str, str]]) -> dict[str, str] | None:
    """Return the first row of the table with one of the classes, or None."""
    return next((row for name, row in table.items() if name in classes), None)


def unify_splits(clips: Iterable[SourceClip]) -> tuple[list[SourceClip], int]:
    """Put all clips of a group in one split; returns the clips and the number of moved ones.

    A group in several splits goes to test, or else to val, so that training never has a recording
    that is measured on.
    """
    clips, split_of = list(clips), {}
    for clip in clips:
        split_of[clip.group] = max(split_of.get(clip.group, "train"), clip.split, key=SPLITS.index)
    moved = sum(clip.split != split_of[clip.group] for clip in clips)
    return [replace(clip, split=split_of[clip.group]) for clip in clips], moved


def _is_importable(
    clip: SourceClip, table: dict[str, dict[str, str]], summary: ImportSummary
) -> bool:
    if find_class(clip.classes, table) is None:
        summary.unmapped[clip.classes[0]] += 1
    elif not clip.file.is_file():
        summary.missing.append(clip.file)
    else:
        return True
    return False


def _write_folder(
    to: Path,
    clips: Sequence[SourceClip],
    table: dict[str, dict[str, str]],
    summary: ImportSummary,
) -> None:
    console = Console(stderr=True)
    rows: list[dict[str, str]] = []
    events: list[tuple[str, str, str]] = []
    for clip in track(clips, "files", console=console, disable=not console.is_terminal):
        mapped = find_class(clip.classes, table)
        assert mapped is not None
        try:
            samples, rate, channels, cut_s = _decode(clip)
        except _UnusableSoundError as error:
            summary.broken.append((clip.file, str(error)))
            continue
        path = Path("audio") / mapped["category"] / f"{clip.name}.flac"
        _write_sound(to / path, samples)
        length_s = len(samples) / RATE
        rows.append({
            "path": path.as_posix(), "split": clip.split, "category": mapped["category"],
            "label": mapped["label"], "kind": mapped["kind"], "source": clip.source,
            "origin_group": clip.group, "licence": clip.licence, "duration_s": f"{length_s:.3f}",
            "native_rate": str(rate), "native_channels": str(channels),
        })  # fmt: skip
        events += [
            (path.as_posix(), f"{onset:.3f}", f"{min(onset + EVENT_S, length_s):.3f}")
            for onset in (arrival - cut_s for arrival in clip.arrivals)
            if 0.0 <= onset < length_s
        ]
    summary.written = len(rows)
    if rows:
        _write_tables(to, rows, events)


def _decode(clip: SourceClip) -> tuple[np.ndarray, int, int, float]:
    """Decode a clip: (n,) float32 at 16 kHz, native rate and channels, seconds cut at its start."""
    try:
        samples, rate = soundfile.read(clip.file, dtype="float32", always_2d=True)
    except soundfile.LibsndfileError as error:
        raise _UnusableSoundError(f"can't be decoded: {error.error_string}") from error
    mono = samples.mean(axis=1)
    if not np.isfinite(mono).all():
        raise _UnusableSoundError("has samples that are not numbers")
    sounding = np.flatnonzero(np.abs(mono) >= 1 / 32768)
    if not len(sounding):
        raise _UnusableSoundError("digital silence")
    start = int(sounding[0]) if clip.trim else 0
    end = int(sounding[-1]) + 1 if clip.trim else len(mono)
    resampled = np.clip(soxr.resample(mono[start:end], rate, RATE), -1.0, 1.0)
    return resampled.astype(np.float32), rate, samples.shape[1], start / rate


def _write_sound(path: Path, samples: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        soundfile.write(path, samples, RATE, subtype="PCM_16")
    except soundfile.LibsndfileError as error:
        raise TrainError(f"{path}: can't be written: {error}") from error


def _write_tables(to: Path, rows: list[dict[str, str]], events: list[tuple[str, str, str]]) -> None:
    """Write the tables; the manifest last, since it makes the folder a data folder."""
    (to / "exclusions.csv").write_text("path,reason\n")
    if events:
        with (to / "events.csv").open("w", newline="", encoding="utf-8") as sink:
            csv.writer(sink).writerows([("path", "onset_s", "offset_s"), *events])
    part = to / "manifest.csv.part"
    with part.open("w", newline="", encoding="utf-8") as sink:
        writer: csv.DictWriter[str] = csv.DictWriter(sink, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    part.rename(to / "manifest.csv")


def _explain_nothing(folder: Path, summary: ImportSummary) -> str:
    if summary.broken:
        path, reason = summary.broken[0]
        return f"{folder}: no usable audio, such as {path}: {reason}"
    if summary.missing:
        return f"{folder}: no audio that the metadata names, such as {summary.missing[0]}"
    return f"{folder}: no clip of a known class"
