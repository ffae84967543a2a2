"""Reviewed events as a data folder that training reads: their clips, and a manifest of them."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import soxr

from streamdet.constants import RATE
from streamdet.store.clips import ClipFolder
from streamdet.store.reader import StoredEvent

COLUMNS: tuple[str, ...] = (
    "path", "split", "category", "label", "kind", "source", "origin_group", "licence",
    "duration_s", "native_rate", "native_channels",
)  # fmt: skip
_LABELS = {
    "fireworks": "fireworks", "door": "door", "vehicle": "backfire", "thunder": "thunder",
    "construction": "construction", "television": "television", "other": "other",
}  # fmt: skip
_CATEGORIES = {"music": "music", "speech": "speech"}
_BLOCK_S = 600.0


class DatasetError(Exception):
    """The folder can't be written; one line."""


@dataclass
class ExportCounts:
    """What went out, and what was left: without a clip, or of which nobody is sure."""

    true: int = 0
    false: int = 0
    without_clip: int = 0
    unsure: int = 0


def export_dataset(
    events: Iterable[StoredEvent], clips: ClipFolder, to: Path, held_out: float = 0.3
) -> ExportCounts:
    """Write the reviewed events that have a clip to a new data folder ``to``: true ones as
    gunshots in their recorder's own noise (with the place of each in events.csv), false ones as
    hard negatives labelled by their cause, 16 kHz mono.

    What one source told of within ten minutes is one recording and goes into one split; recordings
    go into val in the order of a hash, as far as they fit into ``held_out`` of all clips. Raises
    DatasetError.
    """
    tally = ExportCounts()
    chosen = list(_chosen(events, clips, tally))
    val = _held_out([_group(stored) for stored in chosen], held_out)
    try:
        (to / "clips").mkdir(parents=True, exist_ok=True)
        if any((to / "clips").iterdir()) or (to / "manifest.csv").exists():
            raise DatasetError(f"{to}: is not empty; give a new folder")
        (to / "exclusions.csv").write_text("path,reason\n")
        with (
            (to / "manifest.csv").open("w", newline="", encoding="utf-8") as file,
            (to / "events.csv").open("w", newline="", encoding="utf-8") as boxes_file,
        ):
            table, boxes = csv.DictWriter(file, COLUMNS), csv.writer(boxes_file)
            table.writeheader()
            boxes.writerow(("path", "onset_s", "offset_s"))
            for stored, row in _rows(chosen, clips, to, val):
                table.writerow(row)
                if stored.verdict == "true":
                    boxes.writerow((row["path"], *_box(stored)))
    except OSError as error:
        raise DatasetError(f"{error.filename or to}: {error.strerror}") from error
    return tally


def _chosen(
    events: Iterable[StoredEvent], clips: ClipFolder, tally: ExportCounts
) -> Iterator[StoredEvent]:
    for stored in events:
        if stored.verdict not in ("true", "false"):
            tally.unsure += stored.verdict == "unsure"
        elif not stored.clip or not clips.path(stored.event.id).is_file():
            tally.without_clip += 1
        else:
            tally.true += stored.verdict == "true"
            tally.false += stored.verdict == "false"
            yield stored


def _group(stored: StoredEvent) -> str:
    return f"{stored.event.source}/{int(stored.at_s // _BLOCK_S)}"


def _held_out(groups: list[str], share: float) -> set[str]:
    room, val = share * len(groups), set[str]()
    by_hash = sorted(Counter(groups).items(), key=lambda item: sha256(item[0].encode()).digest())
    for group, count in by_hash:
        if count <= room:
            val.add(group)
            room -= count
    return val


def _rows(
    chosen: Iterable[StoredEvent], clips: ClipFolder, to: Path, val: set[str]
) -> Iterator[tuple[StoredEvent, dict[str, Any]]]:
    import soundfile

    for stored in chosen:
        samples, rate = soundfile.read(clips.path(stored.event.id), dtype="float32")
        name = f"clips/{stored.event.id}.flac"
        mono = _at_rate(samples, rate)
        soundfile.write(to / name, mono, RATE, subtype="PCM_16")
        yes, cause = stored.verdict == "true", stored.cause or "other"
        yield (
            stored,
            {
                "path": name,
                "split": "val" if _group(stored) in val else "train",
                "category": "gunshot" if yes else _CATEGORIES.get(cause, "hard_negative"),
                "label": "gunshot" if yes else _LABELS.get(cause, cause),
                "kind": "field" if yes else "",
                "source": f"reviews of {stored.event.source}",
                "origin_group": _group(stored),
                "licence": "own recording",
                "duration_s": round(len(mono) / RATE, 3),
                "native_rate": rate,
                "native_channels": 1,
            },
        )


def _box(stored: StoredEvent) -> tuple[float, float]:
    """Where in its clip the shot is, a frame's doubt to either side."""
    d, rate = stored.event.detection, stored.event.sample_rate
    long = 0.0 if d.offset is None else (d.offset - d.onset) / rate
    first = max(0.0, stored.clip_onset_s - 0.05)
    return round(first, 3), round(stored.clip_onset_s + long, 3)


def _at_rate(samples: np.ndarray, rate: int) -> np.ndarray:
    return samples if rate == RATE else soxr.resample(samples, rate, RATE, quality="HQ")
