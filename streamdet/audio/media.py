"""Opens any file with audio in it, with libsndfile or with PyAV (extra "media")."""

from __future__ import annotations

from pathlib import Path

from streamdet.audio.file import FileSource
from streamdet.audio.media_source import MediaSource
from streamdet.audio.source import SourceError


def open_media(
    path: Path, start_s: float = 0.0, end_s: float | None = None, track: str | None = None
) -> FileSource | MediaSource:
    """Open a file, or the part of it between two times in seconds. Raises SourceError.

    libsndfile is tried first, then PyAV. PyAV alone opens a file with a ``track``. PyAV also comes
    first for MP3: libsndfile takes some complete MP3 files for truncated ones, and writes its own
    messages to stderr.
    """
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
            raise SourceError(
                "bad",
                f"{error}; for films and other media install PyAV: pip install 'streamdet[media]'",
            ) from None


def duration_s(path: Path) -> float | None:
    """Return the length of a file in seconds by its header, or None if that is unknown."""
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
    layer_3_frame = len(head) > 1 and head[0] == 0xFF and head[1] & 0xE6 == 0xE2
    return head == b"ID3" or layer_3_frame or path.suffix.lower() == ".mp3"
