"""Write a file of markers, labels or subtitles beside each media file."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from streamdet.audio import ffmpeg
from streamdet.detection.event import Event
from streamdet.formats import EDIT_FORMATS, SUFFIX_OF, EventFormat, open_writer
from streamdet.formats.timecode import Timebase, parse_frame_rate
from streamdet.scan.discovery import MediaFile
from streamdet.scan.worker import FileResult


@dataclass(frozen=True)
class SidecarWriter:
    """Writes one sidecar per format, named ``movie.mkv.gunshots.srt``.

    ``folder`` None puts each beside its media file; otherwise they go below ``folder``, in the same
    subfolders as the media files. ``fps`` is the frame rate of films that do not state theirs.
    """

    formats: Sequence[EventFormat]
    folder: Path | None = None
    fps: str | None = None

    def write(self, result: FileResult) -> str:
        """Write the sidecars of one file. Returns one line about an error, or an empty string.

        Each is written as a whole or not at all, and only if its content changes.
        """
        for output_format in self.formats:
            path = self.path(result.file, output_format)
            try:
                self._write(result, output_format, path)
            except OSError as error:
                return f"{path}: sidecar not written: {error.strerror or error}"
            except ValueError as error:
                return f"{result.file.name}: {output_format} sidecar not written: {error}"
        return ""

    def path(self, file: MediaFile, output_format: EventFormat) -> Path:
        """The path of a sidecar. It starts with the name of the film, so players find subtitles."""
        name = f"{Path(file.name).name}.gunshots{SUFFIX_OF[output_format]}"
        if self.folder is None:
            return Path(file.name).with_name(name)
        return self.folder / Path(file.relative).parent / name

    def duplicate_path(self, files: Iterable[MediaFile]) -> Path | None:
        """A path that the sidecars of two files share. None if there is none."""
        seen: set[Path] = set()
        for file in files:
            for output_format in self.formats:
                if (path := self.path(file, output_format)) in seen:
                    return path
                seen.add(path)
        return None

    def _write(self, result: FileResult, output_format: EventFormat, path: Path) -> None:
        is_edit = output_format in EDIT_FORMATS
        timebase = _film_timebase(result.file.name, self.fps) if is_edit else None
        stream = io.StringIO(newline="")
        writer = open_writer(output_format, stream, timebase=timebase)
        for record in result.events:
            writer.write(Event.from_record(record))
        writer.close()
        content = stream.getvalue().encode(errors="backslashreplace")
        if path.exists() and path.read_bytes() == content:
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}.part")
        try:
            partial.write_bytes(content)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)


def _film_timebase(name: str, default_fps: str | None) -> Timebase:
    fps, start = (None, None) if "://" in name else ffmpeg.video_timebase(Path(name))
    if (fps := fps or default_fps) is None:
        raise ValueError("the file states no frame rate. Give --fps")
    timebase = parse_frame_rate(fps)
    return timebase if start is None else timebase.with_start(start)
