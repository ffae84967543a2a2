"""Export of reviewed events as a data folder for training: their clips and a manifest."""

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
_LABEL_BY_CAUSE = {
    "fireworks": "fireworks", "door": "door", "vehicle": "backfire", "thunder": "thunder",
    "construction": "construction", "television": "television", "other": "other",
}  # fmt: skip
_CATEGORY_BY_CAUSE = {"music": "music", "speech": "speech"}
_GROUP_S = 600.0
_ONSET_MARGIN_S = 0.05


class DatasetError(Exception):
    """The data folder can't be written. The message is one line."""


@dataclass
class ExportCounts:
    """Events exported as ``true`` and ``false``, and events left out.

    An event is left out if it has no clip, or if its verdict is "unsure".
    """

    true: int = 0
    false: int = 0
    without_clip: int = 0
    unsure: int = 0


def export_dataset(
    events: Iterable[StoredEvent], clips: ClipFolder, folder: Path, held_out: float = 0.3
) -> ExportCounts:
    """Write the reviewed events that have a clip to a new data folder, as 16 kHz mono FLAC.

    Events with the verdict "true" become gunshots, with the position of each in events.csv. Events
    with the verdict "false" become hard negatives, labelled by their cause.

    The events of one source within the same ten minutes form a group, which is not divided between
    the splits. Groups go to the split "val" in the order of a hash, as far as they fit into
    ``held_out`` of all clips. Raises DatasetError.
    """
    counts = ExportCounts()
    exported = list(_exportable(events, clips, counts))
    val = _validation_groups([_group(stored) for stored in exported], held_out)
    try:
        (folder / "clips").mkdir(parents=True, exist_ok=True)
        if any((folder / "clips").iterdir()) or (folder / "manifest.csv").exists():
            raise DatasetError(f"{folder}: the folder is not empty. Give a new one.")
        (folder / "exclusions.csv").write_text("path,reason\n")
        with (
            (folder / "manifest.csv").open("w", newline="", encoding="utf-8") as manifest_file,
            (folder / "events.csv").open("w", newline="", encoding="utf-8") as events_file,
        ):
            manifest, positions = csv.DictWriter(manifest_file, COLUMNS), csv.writer(events_file)
            manifest.writeheader()
            positions.writerow(("path", "onset_s", "offset_s"))
            for stored, row in _write_clips(exported, clips, folder, val):
                manifest.writerow(row)
                if stored.verdict == "true":
                    positions.writerow((row["path"], *_position(stored)))
    except OSError as error:
        raise DatasetError(f"{error.filename or folder}: {error.strerror}") from error
    return counts


def _exportable(
    events: Iterable[StoredEvent], clips: ClipFolder, counts: ExportCounts
) -> Iterator[StoredEvent]:
    for stored in events:
        if stored.verdict not in ("true", "false"):
            counts.unsure += stored.verdict == "unsure"
        elif not stored.clip or not clips.path(stored.event.id).is_file():
            counts.without_clip += 1
        else:
            counts.true += stored.verdict == "true"
            counts.false += stored.verdict == "false"
            yield stored


def _group(stored: StoredEvent) -> str:
    return f"{stored.event.source}/{int(stored.time_s // _GROUP_S)}"


def _validation_groups(groups: list[str], share: float) -> set[str]:
    remaining, val = share * len(groups), set[str]()
    by_hash = sorted(Counter(groups).items(), key=lambda item: sha256(item[0].encode()).digest())
    for group, count in by_hash:
        if count <= remaining:
            val.add(group)
            remaining -= count
    return val


def _write_clips(
    exported: Iterable[StoredEvent], clips: ClipFolder, folder: Path, val: set[str]
) -> Iterator[tuple[StoredEvent, dict[str, Any]]]:
    """Write each clip, and yield its event and its row of the manifest."""
    import soundfile

    for stored in exported:
        samples, rate = soundfile.read(clips.path(stored.event.id), dtype="float32")
        name = f"clips/{stored.event.id}.flac"
        mono = _resample(samples, rate)
        soundfile.write(folder / name, mono, RATE, subtype="PCM_16")
        is_shot, cause = stored.verdict == "true", stored.cause or "other"
        yield (
            stored,
            {
                "path": name,
                "split": "val" if _group(stored) in val else "train",
                "category": (
                    "gunshot" if is_shot else _CATEGORY_BY_CAUSE.get(cause, "hard_negative")
                ),
                "label": "gunshot" if is_shot else _LABEL_BY_CAUSE.get(cause, cause),
                "kind": "field" if is_shot else "",
                "source": f"reviews of {stored.event.source}",
                "origin_group": _group(stored),
                "licence": "own recording",
                "duration_s": round(len(mono) / RATE, 3),
                "native_rate": rate,
                "native_channels": 1,
            },
        )


def _position(stored: StoredEvent) -> tuple[float, float]:
    """Onset and offset of the event in its clip, in seconds; the onset has a margin."""
    d, rate = stored.event.detection, stored.event.sample_rate
    duration_s = 0.0 if d.offset is None else (d.offset - d.onset) / rate
    onset_s = max(0.0, stored.clip_onset_s - _ONSET_MARGIN_S)
    return round(onset_s, 3), round(stored.clip_onset_s + duration_s, 3)


def _resample(samples: np.ndarray, rate: int) -> np.ndarray:
    return samples if rate == RATE else soxr.resample(samples, rate, RATE, quality="HQ")
