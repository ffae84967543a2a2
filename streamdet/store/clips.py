"""Clips: one FLAC file per event in a folder, written atomically and trimmed to a size limit."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from streamdet.store.store import EventStore
from streamdet.version import installed_version

_EVENT_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_SUFFIX, _PARTIAL_SUFFIX = ".flac", ".part"
_DAY_S = 86_400.0


class ClipError(Exception):
    """A clip could not be written. The message is one line.

    ``full`` is True if the disk has too little free space.
    """

    def __init__(self, message: str, *, full: bool = False) -> None:
        super().__init__(message)
        self.full = full


@dataclass(frozen=True)
class ClipLimits:
    """Retention limits: total bytes, age in days, and the free disk space to leave."""

    max_bytes: int
    max_days: float
    min_free_bytes: int


class ClipFolder:
    """The folder that holds the clips. Creates it; raises ClipError if that fails."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise ClipError(f"{folder}: {error.strerror}") from error

    def path(self, event_id: str) -> Path:
        """Return the path of an event's clip, whether or not the file exists.

        Raises ValueError if ``event_id`` is not an event id, so that no text from outside can
        become a path.
        """
        if not _EVENT_ID.fullmatch(event_id):
            raise ValueError(f"{event_id!r} is not an event id")
        return self.folder / f"{event_id}{_SUFFIX}"

    def write(
        self, record: Mapping[str, Any], samples: np.ndarray, rate: int, min_free_bytes: int = 0
    ) -> int:
        """Write ``(n,) float32`` samples as an event's clip, with the event in its tags.

        Returns the size of the file in bytes. Raises ClipError.
        """
        import soundfile

        path = self.path(record["id"])
        partial = path.with_name(path.name + _PARTIAL_SUFFIX)
        try:
            if shutil.disk_usage(self.folder).free - samples.size * 2 < min_free_bytes:
                raise ClipError(f"{self.folder}: too little free disk space", full=True)
            with partial.open("wb") as file:
                with soundfile.SoundFile(
                    file, "w", rate, 1, subtype="PCM_16", format="FLAC"
                ) as clip:
                    clip.title = record["id"]
                    clip.artist = record["source"]
                    if record["time"]:
                        clip.date = record["time"]
                    clip.software = f"streamdet {installed_version()}"
                    clip.comment = json.dumps(dict(record), separators=(",", ":"))
                    clip.write(samples.clip(-1.0, 1.0 - 2.0**-15))
                file.flush()
                os.fsync(file.fileno())
            size = partial.stat().st_size
            partial.rename(path)
        except (OSError, soundfile.LibsndfileError) as error:
            with contextlib.suppress(OSError):
                partial.unlink(missing_ok=True)
            reason = getattr(error, "strerror", None) or error
            raise ClipError(f"{self.folder}: {reason}") from error
        return size

    def remove(self, event_id: str) -> None:
        """Delete a clip if it exists."""
        with contextlib.suppress(OSError):
            self.path(event_id).unlink(missing_ok=True)

    def reconcile(self, store: EventStore) -> None:
        """Make the folder and the store agree after a crash.

        Deletes partial files, clips without a row in the store, and rows without a clip.
        """
        stored = store.clips()
        on_disk = set()
        for path in self.folder.iterdir():
            event_id = path.name.removesuffix(_SUFFIX)
            if path.name.endswith(_SUFFIX) and event_id in stored:
                on_disk.add(event_id)
            elif path.name.endswith((_SUFFIX, _SUFFIX + _PARTIAL_SUFFIX)) and _EVENT_ID.match(
                path.name
            ):
                path.unlink(missing_ok=True)
        for event_id in stored.keys() - on_disk:
            store.drop_clip(event_id)

    def trim(self, store: EventStore, limits: ClipLimits, reserve_bytes: int = 0) -> int:
        """Delete the oldest clips until the rest are within the age and size limits.

        ``reserve_bytes`` is added to the size of the clips. Returns the total size of the clips
        that remain. A low disk never deletes existing clips: other files may be filling it.
        """
        clips = store.clips()
        total = sum(size for size, _ in clips.values())
        for event_id, (size, created_s) in clips.items():
            expired = time.time() - created_s > limits.max_days * _DAY_S
            if not expired and total + reserve_bytes <= limits.max_bytes:
                break
            store.drop_clip(event_id)
            self.remove(event_id)
            total -= size
        return total
