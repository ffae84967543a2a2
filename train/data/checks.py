"""Is a data folder fit to train on? Every fault by file, and the figures of what is there."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import soundfile

from streamdet.constants import RATE
from train.data.corpus import CorpusError, exclusions
from train.data.fingerprint import duplicates, fingerprint
from train.data.labels import head_for
from train.data.table import read_rows

COLUMNS = (
    "path", "split", "category", "label", "kind", "source", "origin_group", "licence",
    "duration_s", "native_rate", "native_channels",
)  # fmt: skip
SPLITS = ("train", "val", "test")
CATEGORIES = ("gunshot", "hard_negative", "explosion", "ambient", "speech", "music", "mixture")
_REFUSED = ("nc", "noncommercial", "non-commercial", "research")


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong: ``path`` names the file or the manifest; ``grave`` faults make
    figures untrue or training fail."""

    path: str
    what: str
    grave: bool


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


def check(data: Path, *, sounds: bool = True) -> Iterator[Fault]:
    """Faults of a folder's manifest and, with ``sounds``, of every file it names, one by one
    as they are found. Raises CorpusError where there is no manifest to check."""
    rows = read_manifest(data)
    yield from _rows(rows)
    yield from _splits(rows)
    yield from _exclusions(data, rows)
    if not sounds:
        return
    prints, left_out = {}, exclusions(data)
    for row in (r for r in rows if r["path"] not in left_out):
        fault, words = _sound(data, row)
        if fault:
            yield fault
        prints[row["path"]] = words
    split = {r["path"]: r["split"] for r in rows}
    for one, other, share in duplicates(prints):
        if split[one] != split[other]:
            what = f"the same sound as {other} ({share:.0%} of bits), which is in {split[other]}"
            yield Fault(one, f"{what}; this one is in {split[one]}", True)


def _rows(rows: list[dict[str, str]]) -> Iterator[Fault]:
    seen: set[str] = set()
    for row in rows:
        path = row["path"]
        if path in seen:
            yield Fault(path, "named twice", True)
        seen.add(path)
        if Path(path).is_absolute() or ".." in Path(path).parts:
            yield Fault(path, "not a path inside the data folder", True)
        if row["split"] not in SPLITS:
            yield Fault(path, f"split {row['split']!r} is none of {', '.join(SPLITS)}", True)
        if row["category"] not in CATEGORIES:
            yield Fault(path, f"category {row['category']!r} is not known", True)
        elif row["category"] != "mixture":
            head_for(row["category"], row["label"])
        licence = row["licence"].lower().replace("_", "-")
        if any(word in licence.split("-") or word in licence.split() for word in _REFUSED):
            yield Fault(path, f"licence {row['licence']!r}: not for a model that is shipped", True)
        elif not licence:
            yield Fault(path, "no licence stated; write `unknown` where nobody knows", False)


def _splits(rows: list[dict[str, str]]) -> Iterator[Fault]:
    of: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        of[row["origin_group"]].add(row["split"])
    for group, splits in of.items():
        if len(splits) > 1:
            yield Fault("manifest.csv", f"group {group} is in {' and '.join(sorted(splits))}", True)


def _exclusions(data: Path, rows: list[dict[str, str]]) -> Iterator[Fault]:
    known = {row["path"] for row in rows}
    for path, reason in exclusions(data).items():
        if path not in known and (data / "exclusions.csv").is_file():
            yield Fault(path, "excluded, but not in the manifest", False)
        if not reason:
            yield Fault(path, "excluded without a reason", False)


def _sound(data: Path, row: dict[str, str]):
    path = row["path"]
    nothing = fingerprint(())  # type: ignore[arg-type]
    try:
        samples, rate = soundfile.read(data / path, dtype="float32", always_2d=True)
    except (OSError, soundfile.LibsndfileError) as error:
        return Fault(path, f"does not decode: {error}", True), nothing
    words = fingerprint(samples[:, 0])
    if rate != RATE or samples.shape[1] != 1:
        what = f"{rate} Hz, {samples.shape[1]} channels; 16 kHz mono wanted"
        return Fault(path, what, True), words
    if not samples.any():
        return Fault(path, "digital silence", True), words
    seconds = len(samples) / rate
    if abs(seconds - float(row["duration_s"] or 0)) > 0.1:
        return Fault(path, f"lasts {seconds:.2f} s, not {row['duration_s']}", False), words
    return None, words


def statistics(rows: list[dict[str, str]]) -> list[tuple[str, str, int, int, int, float]]:
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


def licences(rows: list[dict[str, str]]) -> list[tuple[str, int]]:
    """Licences and how many clips have each, the most frequent first."""
    return Counter(row["licence"] or "(none)" for row in rows).most_common()
