"""A file of markers, labels or subtitles beside each film, in any of the forms of one timeline."""

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
    """``folder``: where they go, in the folders that were found; None for beside the films.
    ``fps`` is that of films that don't say theirs."""

    formats: Sequence[EventFormat]
    folder: Path | None = None
    fps: str | None = None

    def write(self, heard: FileResult) -> str:
        """Those of one file, whole or not at all; one that is as it should be is left alone.
        Returns a line where one can't be written."""
        for form in self.formats:
            path = self.path(heard.file, form)
            try:
                self._write(heard, form, path)
            except OSError as error:
                return f"{path}: no sidecar: {error.strerror or error}"
            except ValueError as error:
                return f"{heard.file.name}: no {form} sidecar: {error}"
        return ""

    def path(self, found: MediaFile, form: EventFormat) -> Path:
        """``movie.mkv.gunshots.srt``: it is nobody else's, and players find subtitles by it."""
        name = f"{Path(found.name).name}.gunshots{SUFFIX_OF[form]}"
        if self.folder is None:
            return Path(found.name).with_name(name)
        return self.folder / Path(found.relative).parent / name

    def duplicate_path(self, files: Iterable[MediaFile]) -> Path | None:
        """A path that two of the files would both write."""
        seen: set[Path] = set()
        for found in files:
            for form in self.formats:
                if (path := self.path(found, form)) in seen:
                    return path
                seen.add(path)
        return None

    def _write(self, heard: FileResult, form: EventFormat, path: Path) -> None:
        timebase = self._timebase(heard.file.name) if form in EDIT_FORMATS else None
        stream = io.StringIO(newline="")
        sink = open_writer(form, stream, timebase=timebase)
        for record in heard.events:
            sink.write(Event.from_record(record))
        sink.close()
        content = stream.getvalue().encode(errors="backslashreplace")
        if path.exists() and path.read_bytes() == content:
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{path.name}.part")
        try:
            part.write_bytes(content)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)

    def _timebase(self, name: str) -> Timebase:
        fps, start = (None, None) if "://" in name else ffmpeg.video_timebase(Path(name))
        if (fps := fps or self.fps) is None:
            raise ValueError("how many frames a second? it does not say; give --fps")
        base = parse_frame_rate(fps)
        return base if start is None else base.with_start(start)
