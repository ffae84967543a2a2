"""Is a data folder fit to train on? Every fault by file, and the figures of what is there."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import soundfile

from streamdet.constants import RATE
from train.data.corpus import CorpusError, read_exclusions
from train.data.fingerprint import compute_fingerprint, find_duplicates
from train.data.labels import find_head
from train.data.table import read_rows

COLUMNS = (
    "path", "split", "category", "label", "kind", "source", "origin_group", "licence",
    "duration_s", "native_rate", "native_channels",
)  # fmt: skip
SPLITS = ("train", "val", "test")
CATEGORIES = ("gunshot", "hard_negative", "explosion", "ambient", "speech", "music", "mixture")
_REFUSED = ("nc", "noncommercial", "non-commercial", "research")


@dataclass(frozen=True)
class DataFault:
    """One thing that is wrong: ``path`` names the file or the manifest; ``grave`` faults make
    figures untrue or training fail."""

    path: str
    problem: str
    severe: bool


def read_manifest(data: Path) -> list[dict[str, str]]:
    """The manifest's rows; raises CorpusError where it is missing or lacks a column."""
    path = data / "manifest.csv"
    if not path.is_file():
        raise CorpusError(f"{path}: no such manifest")
    rows = read_rows(path)
    missing = [c for c in COLUMNS if not rows or c not in rows[0]]
    if missing:
        raise CorpusError(f"{path}: no column {', '.join(missing)}; docs/data.md has the format")
    return rows


def find_faults(data: Path, *, sounds: bool = True) -> Iterator[DataFault]:
    """Faults of a folder's manifest and, with ``sounds``, of every file it names, one by one
    as they are found. Raises CorpusError where there is no manifest to check."""
    rows = read_manifest(data)
    yield from _row_faults(rows)
    yield from _split_faults(rows)
    yield from _exclusion_faults(data, rows)
    if not sounds:
        return
    prints, left_out = {}, read_exclusions(data)
    for row in (r for r in rows if r["path"] not in left_out):
        fault, words = _check_sound(data, row)
        if fault:
            yield fault
        prints[row["path"]] = words
    split = {r["path"]: r["split"] for r in rows}
    for one, other, share in find_duplicates(prints):
        if split[one] != split[other]:
            what = f"the same sound as {other} ({share:.0%} of bits), which is in {split[other]}"
            yield DataFault(one, f"{what}; this one is in {split[one]}", True)


def _row_faults(rows: list[dict[str, str]]) -> Iterator[DataFault]:
    seen: set[str] = set()
    for row in rows:
        path = row["path"]
        if path in seen:
            yield DataFault(path, "named twice", True)
        seen.add(path)
        if Path(path).is_absolute() or ".." in Path(path).parts:
            yield DataFault(path, "not a path inside the data folder", True)
        if row["split"] not in SPLITS:
            yield DataFault(path, f"split {row['split']!r} is none of {', '.join(SPLITS)}", True)
        if row["category"] not in CATEGORIES:
            yield DataFault(path, f"category {row['category']!r} is not known", True)
        elif row["category"] != "mixture":
            find_head(row["category"], row["label"])
        licence = row["licence"].lower().replace("_", "-")
        if any(word in licence.split("-") or word in licence.split() for word in _REFUSED):
            yield DataFault(
                path, f"licence {row['licence']!r}: not for a model that is shipped", True
            )
        elif not licence:
            yield DataFault(path, "no licence stated; write `unknown` where nobody knows", False)


def _split_faults(rows: list[dict[str, str]]) -> Iterator[DataFault]:
    of: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        of[row["origin_group"]].add(row["split"])
    for group, splits in of.items():
        if len(splits) > 1:
            yield DataFault(
                "manifest.csv", f"group {group} is in {' and '.join(sorted(splits))}", True
            )


def _exclusion_faults(data: Path, rows: list[dict[str, str]]) -> Iterator[DataFault]:
    known = {row["path"] for row in rows}
    for path, reason in read_exclusions(data).items():
        if path not in known and (data / "exclusions.csv").is_file():
            yield DataFault(path, "excluded, but not in the manifest", False)
        if not reason:
            yield DataFault(path, "excluded without a reason", False)


def _check_sound(data: Path, row: dict[str, str]):
    path = row["path"]
    nothing = compute_fingerprint(())  # type: ignore[arg-type]
    try:
        samples, rate = soundfile.read(data / path, dtype="float32", always_2d=True)
    except (OSError, soundfile.LibsndfileError) as error:
        return DataFault(path, f"does not decode: {error}", True), nothing
    words = compute_fingerprint(samples[:, 0])
    if rate != RATE or samples.shape[1] != 1:
        what = f"{rate} Hz, {samples.shape[1]} channels; 16 kHz mono wanted"
        return DataFault(path, what, True), words
    if not samples.any():
        return DataFault(path, "digital silence", True), words
    seconds = len(samples) / rate
    if abs(seconds - float(row["duration_s"] or 0)) > 0.1:
        return DataFault(path, f"lasts {seconds:.2f} s, not {row['duration_s']}", False), words
    return None, words


def summarise_manifest(rows: list[dict[str, str]]) -> list[tuple[str, str, int, int, int, float]]:
    """(split, category, clips, groups, sources, minutes) for what is there."""
    some: dict[tuple[str, str], list[dict[str, str]]] = defaultdict(list)
    for row in rows:
        some[row["split"], row["category"]].append(row)
    return [
        (
            split,
            category,
            len(clips),
            len({c["origin_group"] for c in clips}),
            len({c["source"] for c in clips}),
            sum(float(c["duration_s"] or 0) for c in clips) / 60,
        )
        for (split, category), clips in sorted(some.items())
    ]


def count_licences(rows: list[dict[str, str]]) -> list[tuple[str, int]]:
    """Licences and how many clips have each, the most frequent first."""
    return Counter(row["licence"] or "(none)" for row in rows).most_common()
