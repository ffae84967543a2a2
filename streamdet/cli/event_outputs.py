"""What `file` writes: to stdout, or to any number of files, each in the form that its name asks
for."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from enum import StrEnum
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from streamdet.cli.errors import CommandError

if TYPE_CHECKING:
    from streamdet.detection.event import Event
    from streamdet.formats import EventFormat, EventWriter, ScoreExplanation, Timebase


NO_OTIO = "otio: needs OpenTimelineIO: pip install 'streamdet[edit]'"


class OutputFormat(StrEnum):
    """How events are written."""

    jsonl = "jsonl"
    csv = "csv"
    table = "table"
    audacity = "audacity"
    raven = "raven"
    srt = "srt"
    vtt = "vtt"
    edl = "edl"
    fcpxml = "fcpxml"
    otio = "otio"
    textgrid = "textgrid"


@dataclass(frozen=True)
class OutputOptions:
    """The options: files to write, a form, a frame rate and timecode as they were given;
    ``silent``: nothing goes to stdout either."""

    outputs: list[Path]
    form: OutputFormat | None
    explain: bool
    fps: str | None
    start_timecode: str | None
    silent: bool = False

    @property
    def streams(self) -> list[Path | None]:
        """Where events go, None being stdout."""
        return [*self.outputs] if self.outputs or self.silent else [None]


class EventOutputs:
    """All of them as one sink."""

    def __init__(self, sinks: list[EventWriter]) -> None:
        self._sinks = sinks

    def write(self, event: Event, explanation: ScoreExplanation | None = None) -> None:
        """Write one event to each."""
        for sink in self._sinks:
            sink.write(event, explanation)

    def close(self) -> None:
        """Finish each."""
        for sink in self._sinks:
            sink.close()


def split_reports(outputs: list[Path], paths: list[str]) -> tuple[list[Path], list[Path]]:
    """Reports, and what is written event by event; raises Failure for what can't be written."""
    from streamdet.formats import REPORT_SUFFIX

    _check(outputs, paths)
    reports = [output for output in outputs if output.suffix.lower() == REPORT_SUFFIX]
    return reports, [output for output in outputs if output not in reports]


def check(wanted: OutputOptions, paths: list[str]) -> None:
    """Raise Failure for what `opened` would refuse; nothing that is there is touched."""
    _check(wanted.outputs, paths)
    _check_forms([_form(wanted, output) for output in wanted.streams], wanted, paths)
    for output in wanted.outputs:
        try:
            output.open("a").close()
        except OSError as error:
            raise CommandError(f"--output {output}: {error.strerror}") from error


def need_otio() -> None:
    """Raise Failure where OpenTimelineIO is missing."""
    try:
        import opentimelineio  # noqa: F401
    except ImportError as error:
        raise CommandError(NO_OTIO) from error


@contextmanager
def open_outputs(wanted: OutputOptions, paths: list[str]) -> Iterator[EventOutputs]:
    """The sinks for these files to hear; raises Failure before any of them is touched."""
    from streamdet.formats import EDIT_FORMATS, open_writer

    _check(wanted.outputs, paths)
    forms: list[EventFormat] = [_form(wanted, output) for output in wanted.streams]
    _check_forms(forms, wanted, paths)
    edit = any(form in EDIT_FORMATS for form in forms)
    timebase = _timebase(wanted, paths[0]) if edit else None
    with ExitStack() as stack:
        streams = [stack.enter_context(_stream(output)) for output in wanted.streams]
        try:
            sinks = [
                open_writer(form, stream, explain=wanted.explain, timebase=timebase)
                for form, stream in zip(forms, streams, strict=True)
            ]
        except ImportError as error:
            raise CommandError(NO_OTIO) from error
        yield EventOutputs(sinks)


def _form(wanted: OutputOptions, output: Path | None) -> EventFormat:
    from streamdet.formats import FORMATS, format_for

    if wanted.form is not None:
        return FORMATS[wanted.form]
    if output is None:
        return "table" if sys.stdout.isatty() else "jsonl"
    return format_for(output.name) or "jsonl"


def _check_forms(forms: list[EventFormat], wanted: OutputOptions, paths: list[str]) -> None:
    from streamdet.formats import SINGLE_FILE_FORMATS

    if wanted.form is not None and len(wanted.outputs) > 1:
        raise CommandError(
            "--format: with several --output each has the form that its name asks for"
        )
    single = [form for form in forms if form in SINGLE_FILE_FORMATS]
    if single and len(paths) > 1:
        raise CommandError(f"{single[0]} is of one file's time: give one PATH")


def _timebase(wanted: OutputOptions, path: str) -> Timebase:
    """As given, else as the film itself says."""
    from streamdet.formats import timecode

    fps, start = wanted.fps, wanted.start_timecode
    if path != "-" and (fps is None or start is None):
        from streamdet.audio import ffmpeg

        its_fps, its_start = ffmpeg.video_timebase(Path(path))
        fps = fps or its_fps
        start = start or its_start
    if fps is None:
        raise CommandError(f"--fps: of an edit with how many frames a second? {path} does not say")
    try:
        base = timecode.parse_frame_rate(fps)
    except ValueError as error:
        raise CommandError(f"--fps {fps}: {error}") from error
    if start is None:
        return base
    try:
        return base.with_start(start)
    except ValueError as error:
        raise CommandError(f"--start-timecode {start}: {error}") from error


@contextmanager
def _stream(output: Path | None) -> Iterator[TextIO]:
    if output is None:
        if isinstance(sys.stdout, TextIOWrapper):
            sys.stdout.reconfigure(errors="backslashreplace")
        yield sys.stdout
        return
    try:
        stream = output.open("w", encoding="utf-8", errors="backslashreplace", newline="")
    except OSError as error:
        raise CommandError(f"--output {output}: {error.strerror}") from error
    with stream:
        yield stream


def _check(outputs: list[Path], paths: list[str]) -> None:
    """Writing over what is about to be read would lose it."""
    for output in outputs:
        if outputs.count(output) > 1:
            raise CommandError(f"--output {output}: given twice")
        for path in paths if output.exists() else ():
            if path != "-" and Path(path).exists() and output.samefile(path):
                raise CommandError(
                    f"--output {output}: is one of the files to hear; choose another"
                )
