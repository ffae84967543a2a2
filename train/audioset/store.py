"""AudioSet's clips in one array-record file: any clip by its number, at once.

`convert` writes ``clips.array_record``, ``index.npz`` (each clip's labels and a hash of its id)
and, last of all, ``clips.json`` (how many, of which records, what was damaged, the file's hash)
into a folder; `Store` reads them. TFRecords can only be read from their beginning, which neither
shuffles nor resumes.
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

RECORDS, INDEX, ABOUT = "clips.array_record", "index.npz", "clips.json"
_SHOWN_EVERY = 500


def convert_records(source: Path, to: Path, *, skip_damaged: bool = False) -> dict[str, Any]:
    """Write the clips of a folder or tar archive of TFRecords to ``to``; returns what
    ``clips.json`` says.

    Raises RecordError at the first damaged record, unless they are to be skipped; TrainError
    where ``to`` can't be written.
    """
    damaged: list[str] = []

    def borne(damage: DamagedRecord) -> None:
        damaged.append(str(damage))

    console = Console(stderr=True)
    columns = (SpinnerColumn(), TextColumn("{task.completed:.0f} clips"))
    count, part = 0, to / f"{RECORDS}.part"
    labels, offsets, hashes = array("H"), array("q", [0]), array("Q")
    try:
        to.mkdir(parents=True, exist_ok=True)
        (to / ABOUT).unlink(missing_ok=True)
        writer = ArrayRecordWriter(str(part), "group_size:1")
        with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
            task = progress.add_task("", total=None)
            for clip in clips.read_clips(source, borne if skip_damaged else raise_on_damage):
                writer.write(clips.pack_clip(clip))
                labels.extend(clip.labels)
                offsets.append(len(labels))
                hashes.append(hash_video_id(clip.video_id))
                count += 1
                if count % _SHOWN_EVERY == 0:
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
        (to / ABOUT).write_text(json.dumps(about, indent=2) + "\n")
    except OSError as error:
        raise TrainError(f"{to}: can't be written: {error.strerror}") from error
    return about


class ClipStore:
    """The clips of a folder that `convert` made, by number; raises TrainError for another."""

    def __init__(self, folder: Path) -> None:
        try:
            self.about: dict[str, Any] = json.loads((folder / ABOUT).read_text())
            self._source: Any = ArrayRecordDataSource(str(folder / RECORDS))
            with np.load(folder / INDEX, allow_pickle=False) as index:
                self.hashes: np.ndarray = index["hashes"]
                self._labels, self._offsets = index["labels"], index["offsets"]
        except (OSError, ValueError) as error:
            raise TrainError(
                f"{folder}: no converted clips; run `python -m train audioset convert` first"
            ) from error

    def labels(self, number: int) -> np.ndarray:
        """The class indices of a clip, (n,) uint16, without reading it."""
        return self._labels[self._offsets[number] : self._offsets[number + 1]]

    def group_by_class(self, numbers: np.ndarray) -> list[np.ndarray]:
        """For each class that any of these clips has, the numbers of the clips that have it."""
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
    """64 bits that depend on nothing but the id, to split clips by."""
    return int.from_bytes(hashlib.blake2b(video_id.encode(), digest_size=8).digest(), "big")


def _hash_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
