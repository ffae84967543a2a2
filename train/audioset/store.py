"""AudioSet's clips in one array-record file, with random access by number.

`convert_records` writes ``clips.array_record``, ``index.npz`` (each clip's labels and a hash of its
id) and, last, ``clips.json`` (the number of clips, their source, damaged records, the file's hash)
into a folder. `ClipStore` reads them. TFRecords allow sequential reads only, which can be neither
shuffled nor resumed.
"""

from __future__ import annotations

import hashlib
import json
from array import array
from pathlib import Path
from typing import Any

import numpy as np
from array_record.python.array_record_module import ArrayRecordWriter
from grain.sources import ArrayRecordDataSource
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn

from train.audioset import clips
from train.audioset.clips import AudioSetClip
from train.audioset.tfrecord import DamagedRecord, raise_on_damage
from train.errors import TrainError

RECORDS, INDEX, SUMMARY = "clips.array_record", "index.npz", "clips.json"
_PROGRESS_EVERY = 500


def convert_records(source: Path, to: Path, *, skip_damaged: bool = False) -> dict[str, Any]:
    """Convert the clips of a folder or tar archive of TFRecords into the folder ``to``.

    Returns the content of ``clips.json``. Raises RecordError at the first damaged record, unless
    ``skip_damaged`` is set, and TrainError if ``to`` can't be written.
    """
    damaged: list[str] = []

    def record_damage(damage: DamagedRecord) -> None:
        damaged.append(str(damage))

    console = Console(stderr=True)
    columns = (SpinnerColumn(), TextColumn("{task.completed:.0f} clips"))
    count, part = 0, to / f"{RECORDS}.part"
    labels, offsets, hashes = array("H"), array("q", [0]), array("Q")
    try:
        to.mkdir(parents=True, exist_ok=True)
        (to / SUMMARY).unlink(missing_ok=True)
        writer = ArrayRecordWriter(str(part), "group_size:1")
        with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
            task = progress.add_task("", total=None)
            for clip in clips.read_clips(
                source, record_damage if skip_damaged else raise_on_damage
            ):
                writer.write(clips.pack_clip(clip))
                labels.extend(clip.labels)
                offsets.append(len(labels))
                hashes.append(hash_video_id(clip.video_id))
                count += 1
                if count % _PROGRESS_EVERY == 0:
                    progress.update(task, completed=count)
        writer.close()
        part.replace(to / RECORDS)
        np.savez(
            to / INDEX,
            labels=np.asarray(labels),
            offsets=np.asarray(offsets),
            hashes=np.asarray(hashes),
        )
        about = {
            "clips": count,
            "source": source.name,
            "damaged": damaged,
            "sha256": _hash_file(to / RECORDS),
        }
        (to / SUMMARY).write_text(json.dumps(about, indent=2) + "\n")
    except OSError as error:
        raise TrainError(f"{to}: can't be written: {error.strerror}") from error
    return about


class ClipStore:
    """The clips in a folder made by `convert_records`, by number.

    Raises TrainError for another folder. ``about`` is the content of ``clips.json``.
    """

    def __init__(self, folder: Path) -> None:
        try:
            self.about: dict[str, Any] = json.loads((folder / SUMMARY).read_text())
            self._source: Any = ArrayRecordDataSource(str(folder / RECORDS))
            with np.load(folder / INDEX, allow_pickle=False) as index:
                self.hashes: np.ndarray = index["hashes"]
                self._labels, self._offsets = index["labels"], index["offsets"]
        except (OSError, ValueError) as error:
            raise TrainError(
                f"{folder}: no converted clips. Run `python -m train audioset convert` first."
            ) from error

    def labels(self, number: int) -> np.ndarray:
        """Return the class indices of a clip, (n,) uint16, without reading the clip."""
        return self._labels[self._offsets[number] : self._offsets[number + 1]]

    def group_by_class(self, numbers: np.ndarray) -> list[np.ndarray]:
        """Return, for each class that any of these clips has, the numbers of its clips."""
        counts = np.diff(self._offsets)[numbers]
        clip = np.repeat(numbers, counts)
        label = np.concatenate([self.labels(n) for n in numbers])
        order = np.argsort(label, kind="stable")
        ends = np.flatnonzero(np.diff(label[order])) + 1
        return np.split(clip[order], ends)

    def __len__(self) -> int:
        return len(self.hashes)

    def __getitem__(self, number: int) -> AudioSetClip:
        return clips.unpack_clip(self._source[number])


def hash_video_id(video_id: str) -> int:
    """Compute a 64-bit hash of a video's id, used to split clips into train and held-out ones."""
    return int.from_bytes(hashlib.blake2b(video_id.encode(), digest_size=8).digest(), "big")


def _hash_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
