"""Any file with sound in it as a source: by libsndfile, or by PyAV (extra "media")."""

from __future__ import annotations

from pathlib import Path

from streamdet.audio.file import FileSource
from streamdet.audio.media_source import MediaSource
from streamdet.audio.source import SourceError


def open_media(
    path: Path, start_s: float = 0.0, end_s: float | None = None, track: str | None = None
) -> FileSource | MediaSource:
    """A file as a source: by libsndfile where it reads it, else by PyAV; so too where a ``track``
    is asked for, or for MP3 (libsndfile's reader of it takes whole files for cut ones, and writes
    notes of its own to stderr); raises SourceError."""
    if track is not None:
        return MediaSource(path, start_s, end_s, track)
    if _is_mp3(path):
        try:
            return MediaSource(path, start_s, end_s)
        except SourceError as error:
            if error.reason != "unavailable":
                raise
    try:
        return FileSource(path, start_s, end_s)
    except SourceError as error:
        if not error.try_other_reader:
            raise
        try:
            return MediaSource(path, start_s, end_s)
        except SourceError as other:
            if other.reason != "unavailable":
                raise
            raise SourceError("bad", f"{error}; other media need PyAV: pip install "
                              "'streamdet[media]'") from None  # fmt: skip


def duration_s(path: Path) -> float | None:
    """How long a file is as far as its header tells; None where it can't be told."""
    try:
        source = open_media(path)
    except SourceError:
        return None
    count, rate = source.samples_to_read, source.rate
    source.close()
    return None if count is None else count / rate


def _is_mp3(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            head = file.read(3)
    except OSError:
        return False
    frame = len(head) > 1 and head[0] == 0xFF and head[1] & 0xE6 == 0xE2  # layer III
    return head == b"ID3" or frame or path.suffix.lower() == ".mp3"
