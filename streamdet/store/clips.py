"""Clips on disk: a FLAC file for each event, whole or not there, within what was allowed."""

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

_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_SUFFIX, _PART = ".flac", ".part"
_DAY_S = 86_400.0


class ClipError(Exception):
    """A clip could not be kept; one line. ``full``: for want of room."""

    def __init__(self, message: str, *, full: bool = False) -> None:
        super().__init__(message)
        self.full = full


@dataclass(frozen=True)
class ClipLimits:
    """How much may be kept: bytes in all, days, and what the disk keeps free."""

    max_bytes: int
    max_days: float
    min_free_bytes: int


class ClipFolder:
    """Where clips lie; raises ClipError where there can be no such folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise ClipError(f"{folder}: {error.strerror}") from error

    def path(self, event: str) -> Path:
        """Where an event's clip is or would be; raises ValueError for what is no id, so that no
        text from outside becomes a path."""
        if not _ID.fullmatch(event):
            raise ValueError("not an event's id")
        return self.folder / f"{event}{_SUFFIX}"

    def write(
        self, record: Mapping[str, Any], samples: np.ndarray, rate: int, min_free_bytes: int = 0
    ) -> int:
        """Keep ``(n,) float32`` samples as an event's clip, the event in its tags; returns the
        bytes it took. Raises ClipError."""
        import soundfile

        path = self.path(record["id"])
        part = path.with_name(path.name + _PART)
        try:
            if shutil.disk_usage(self.folder).free - samples.size * 2 < min_free_bytes:
                raise ClipError(f"{self.folder}: too little of the disk is free", full=True)
            with part.open("wb") as file:
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
            size = part.stat().st_size
            part.rename(path)
        except (OSError, soundfile.LibsndfileError) as error:
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)
            said = getattr(error, "strerror", None) or error
            raise ClipError(f"{self.folder}: {said}") from error
        return size

    def remove(self, event: str) -> None:
        """Delete a clip, if it is there."""
        with contextlib.suppress(OSError):
            self.path(event).unlink(missing_ok=True)

    def reconcile(self, store: EventStore) -> None:
        """After a crash: no half clip, none without a row, no row without one."""
        noted = store.clips()
        there = set()
        for path in self.folder.iterdir():
            event = path.name.removesuffix(_SUFFIX)
            if path.name.endswith(_SUFFIX) and event in noted:
                there.add(event)
            elif path.name.endswith((_SUFFIX, _SUFFIX + _PART)) and _ID.match(path.name):
                path.unlink(missing_ok=True)
        for event in noted.keys() - there:
            store.drop_clip(event)

    def trim(self, store: EventStore, limits: ClipLimits, room: int = 0) -> int:
        """Delete the oldest until their age is within the limits, and their bytes with ``room``
        more; returns the bytes that are left. A disk that others fill costs no clip that is
        there."""
        clips = store.clips()
        kept = sum(size for size, _ in clips.values())
        for event, (size, made) in clips.items():
            old = time.time() - made > limits.max_days * _DAY_S
            if not old and kept + room <= limits.max_bytes:
                break
            store.drop_clip(event)
            self.remove(event)
            kept -= size
        return kept
