"""Check a data folder before training on it: every fault by file, and counts of its clips."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from streamdet.constants import RATE
from train.data.corpus import CorpusError, read_exclusions
from train.data.fingerprint import compute_fingerprint, find_duplicates
from train.data.table import read_rows

COLUMNS = (
    "path", "split", "category", "label", "kind", "source", "origin_group", "licence",
    "duration_s", "native_rate", "native_channels",
)  # fmt: skip
SPLITS = ("train", "val", "test")
CATEGORIES = ("gunshot", "hard_negative", "explosion", "ambient", "speech", "music", "mixture")
_REFUSED_LICENCES = ("nc", "noncommercial", "non-commercial", "research")


@dataclass(frozen=True)
class DataFault:
    """One fault of a data folder.

    ``path`` names the file or the manifest. A ``severe`` fault makes training fail or metrics
    wrong.
    """

    path: str
    problem: str
    severe: bool


def read_manifest(data: Path) -> list[dict[str, str]]:
    """Read the rows of ``manifest.csv``; raises CorpusError if it or a column is missing."""
    path = data / "manifest.csv"
    if not path.is_file():
        raise CorpusError(f"{path}: no such file. docs/data.md describes the format.")
    rows = read_rows(path)
    missing = [c for c in COLUMNS if not rows or c not in rows[0]]
    if missing:
        raise CorpusError(
            f"{path}: no column {', '.join(missing)}. docs/data.md describes the format."
        )
    return rows


def find_faults(data: Path, *, sounds: bool = True) -> Iterator[DataFault]:
    """Yield the faults of a folder's manifest and, with ``sounds``, of every file in it.

    Raises CorpusError if the manifest can't be read.
    """
    rows = read_manifest(data)
    yield from _row_faults(rows)
    yield from _split_faults(rows)
    yield from _exclusion_faults(data, rows)
    if not sounds:
        return
    prints, excluded = {}, read_exclusions(data)
    for row in (r for r in rows if r["path"] not in excluded):
        fault, words = _check_sound(data, row)
        if fault:
            yield fault
        prints[row["path"]] = words
    split = {r["path"]: r["split"] for r in rows}
    for one, other, share in find_duplicates(prints):
        if split[one] != split[other]:
            problem = (
                f"in split {split[one]}, but holds the same sound as {other} in split "
                f"{split[other]} ({share:.0%} of fingerprint bits agree)"
            )
            yield DataFault(one, problem, True)


def _row_faults(rows: list[dict[str, str]]) -> Iterator[DataFault]:
    seen: set[str] = set()
    for row in rows:
        path = row["path"]
        if path in seen:
            yield DataFault(path, "listed twice in the manifest", True)
        seen.add(path)
        if Path(path).is_absolute() or ".." in Path(path).parts:
            yield DataFault(path, "path outside the data folder", True)
        if row["split"] not in SPLITS:
            yield DataFault(path, f"unknown split {row['split']!r}; use {', '.join(SPLITS)}", True)
        if row["category"] not in CATEGORIES:
            problem = f"unknown category {row['category']!r}; use {', '.join(CATEGORIES)}"
            yield DataFault(path, problem, True)
        licence = row["licence"].lower().replace("_", "-")
        if any(word in licence.split("-") or word in licence.split() for word in _REFUSED_LICENCES):
            problem = f"licence {row['licence']!r} does not allow use in a distributed model"
            yield DataFault(path, problem, True)
        elif not licence:
            yield DataFault(path, "no licence; write `unknown` if it is not known", False)


def _split_faults(rows: list[dict[str, str]]) -> Iterator[DataFault]:
    splits_of_group: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        splits_of_group[row["origin_group"]].add(row["split"])
    for group, splits in splits_of_group.items():
        if len(splits) > 1:
            problem = f"recording {group} is in more than one split: {', '.join(sorted(splits))}"
            yield DataFault("manifest.csv", problem, True)


def _exclusion_faults(data: Path, rows: list[dict[str, str]]) -> Iterator[DataFault]:
    known = {row["path"] for row in rows}
    for path, reason in read_exclusions(data).items():
        if path not in known and (data / "exclusions.csv").is_file():
            yield DataFault(path, "in exclusions.csv, but not in the manifest", False)
        if not reason:
            yield DataFault(path, "excluded without a reason", False)


def _check_sound(data: Path, row: dict[str, str]) -> tuple[DataFault | None, np.ndarray]:
    """The first fault of a file, if any, and its fingerprint."""
    path = row["path"]
    try:
        samples, rate = soundfile.read(data / path, dtype="float32", always_2d=True)
    except (OSError, soundfile.LibsndfileError) as error:
        return DataFault(path, f"can't be decoded: {error}", True), np.zeros(0, np.uint32)
    words = compute_fingerprint(samples[:, 0])
    if rate != RATE or samples.shape[1] != 1:
        problem = f"{rate} Hz, {samples.shape[1]} channels; convert it to {RATE} Hz mono"
        return DataFault(path, problem, True), words
    if not samples.any():
        return DataFault(path, "digital silence", True), words
    seconds = len(samples) / rate
    if abs(seconds - float(row["duration_s"] or 0)) > 0.1:
        problem = f"{seconds:.2f} s long, but duration_s is {row['duration_s']}"
        return DataFault(path, problem, False), words
    return None, words


def summarise_manifest(
    rows: list[dict[str, str]],
) -> list[tuple[str, str, int, int, int, float]]:
    """Count (split, category, clips, recordings, sources, minutes) of a manifest's rows."""
    clips_of: dict[tuple[str, str], list[dict[str, str]]] = defaultdict(list)
    for row in rows:
        clips_of[row["split"], row["category"]].append(row)
    return [
        (
            split,
            category,
            len(clips),
            len({c["origin_group"] for c in clips}),
            len({c["source"] for c in clips}),
            sum(float(c["duration_s"] or 0) for c in clips) / 60,
        )
        for (split, category), clips in sorted(clips_of.items())
    ]


def count_licences(rows: list[dict[str, str]]) -> list[tuple[str, int]]:
    """Count the clips of each licence, the most frequent first."""
    return Counter(row["licence"] or "(none)" for row in rows).most_common()
