"""The only module that imports PyAV, the Python binding of FFmpeg. Needs the extra "media"."""

from __future__ import annotations

import logging
from pathlib import Path
from types import ModuleType
from typing import Any, BinaryIO

from streamdet.audio.source import SourceError


def import_pyav(needed_by: str) -> ModuleType:
    """Return the ``av`` module, with FFmpeg's own messages switched off.

    ``needed_by`` is the file or address to read; the error message names it. Raises SourceError
    ("unavailable") if PyAV is not installed.
    """
    try:
        import av
        import av.error
        import av.logging
    except ImportError as error:
        raise SourceError(
            "unavailable", f"{needed_by}: PyAV is not installed; pip install 'streamdet[media]'"
        ) from error
    logger = logging.getLogger("av")
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())
        av.logging.set_level(None)  # pyright: ignore[reportPrivateImportUsage]
    return av


def open_container(av: ModuleType, file: BinaryIO | Any, **options: Any) -> Any:
    """Open a file object with FFmpeg, without opening the files that a playlist in it names.

    Raises FFmpegError, OSError or ValueError if the content is not media.
    """
    return av.open(
        file, options={"protocol_whitelist": "none"}, metadata_errors="replace", **options
    )


def video_timebase(path: Path) -> tuple[str | None, str | None]:
    """Return the frame rate of a film as a fraction, and the timecode of its first frame.

    Each is None if the file does not state it.
    """
    try:
        av = import_pyav(str(path))
        with path.open("rb") as file, open_container(av, file) as container:
            videos = [s for s in container.streams.video if s.average_rate]
            tables = [container.metadata, *(stream.metadata for stream in container.streams)]
            timecodes = (table["timecode"] for table in tables if "timecode" in table)
            timecode = next(timecodes, None)
            fps = str(videos[0].average_rate) if videos else None
    except (SourceError, OSError, ValueError):
        return None, None
    if fps == "30000/1001" and timecode is not None and ";" in timecode:
        fps = "29.97df"
    return fps, timecode
