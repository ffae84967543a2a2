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

from streamdet.cli.errors import Failure

if TYPE_CHECKING:
    from streamdet.detection.event import Event
    from streamdet.formats import Explanation, Format, Sink, Timebase


NO_OTIO = "otio: needs OpenTimelineIO: pip install 'streamdet[edit]'"


class Form(StrEnum):
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
class Wanted:
    """The options: files to write, a form, a frame rate and timecode as they were given;
    ``silent``: nothing goes to stdout either."""

    outputs: list[Path]
    form: Form | None
    explain: bool
    fps: str | None
    start_timecode: str | None
    silent: bool = False

    @property
    def streams(self) -> list[Path | None]:
        """Where events go, None being stdout."""
        return [*self.outputs] if self.outputs or self.silent else [None]


class Outputs:
    """All of them as one sink."""

    def __init__(self, sinks: list[Sink]) -> None:
        self._sinks = sinks

    def write(self, event: Event, explanation: Explanation | None = None) -> None:
        """Write one event to each."""
        for sink in self._sinks:
            sink.write(event, explanation)

    def close(self) -> None:
        """Finish each."""
        for sink in self._sinks:
            sink.close()


def parted(outputs: list[Path], paths: list[str]) -> tuple[list[Path], list[Path]]:
    """Reports, and what is written event by event; raises Failure for what can't be written."""
    from streamdet.formats import REPORT

    _check(outputs, paths)
    reports = [output for output in outputs if output.suffix.lower() == REPORT]
    return reports, [output for output in outputs if output not in reports]


def check(wanted: Wanted, paths: list[str]) -> None:
    """Raise Failure for what `opened` would refuse; nothing that is there is touched."""
    _check(wanted.outputs, paths)
    _check_forms([_form(wanted, output) for output in wanted.streams], wanted, paths)
    for output in wanted.outputs:
        try:
            output.open("a").close()
        except OSError as error:
            raise Failure(f"--output {output}: {error.strerror}") from error


def need_otio() -> None:
    """Raise Failure where OpenTimelineIO is missing."""
    try:
        import opentimelineio  # noqa: F401
    except ImportError as error:
        raise Failure(NO_OTIO) from error


@contextmanager
def opened(wanted: Wanted, paths: list[str]) -> Iterator[Outputs]:
    """The sinks for these files to hear; raises Failure before any of them is touched."""
    from streamdet.formats import EDITS, open_sink

    _check(wanted.outputs, paths)
    forms: list[Format] = [_form(wanted, output) for output in wanted.streams]
    _check_forms(forms, wanted, paths)
    edit = any(form in EDITS for form in forms)
    timebase = _timebase(wanted, paths[0]) if edit else None
    with ExitStack() as stack:
        streams = [stack.enter_context(_stream(output)) for output in wanted.streams]
        try:
            sinks = [
                open_sink(form, stream, explain=wanted.explain, timebase=timebase)
                for form, stream in zip(forms, streams, strict=True)
            ]
        except ImportError as error:
            raise Failure(NO_OTIO) from error
        yield Outputs(sinks)


def _form(wanted: Wanted, output: Path | None) -> Format:
    from streamdet.formats import FORMS, form_of

    if wanted.form is not None:
        return FORMS[wanted.form]
    if output is None:
        return "table" if sys.stdout.isatty() else "jsonl"
    return form_of(output.name) or "jsonl"


def _check_forms(forms: list[Format], wanted: Wanted, paths: list[str]) -> None:
    from streamdet.formats import ONE_FILE

    if wanted.form is not None and len(wanted.outputs) > 1:
        raise Failure("--format: with several --output each has the form that its name asks for")
    single = [form for form in forms if form in ONE_FILE]
    if single and len(paths) > 1:
        raise Failure(f"{single[0]} is of one file's time: give one PATH")


def _timebase(wanted: Wanted, path: str) -> Timebase:
    """As given, else as the film itself says."""
    from streamdet.formats import timecode

    fps, start = wanted.fps, wanted.start_timecode
    if path != "-" and (fps is None or start is None):
        from streamdet.audio import media

        its_fps, its_start = media.video_timebase(Path(path))
        fps = fps or its_fps
        start = start or its_start
    if fps is None:
        raise Failure(f"--fps: of an edit with how many frames a second? {path} does not say")
    try:
        base = timecode.parse(fps)
    except ValueError as error:
        raise Failure(f"--fps {fps}: {error}") from error
    if start is None:
        return base
    try:
        return base.starting(start)
    except ValueError as error:
        raise Failure(f"--start-timecode {start}: {error}") from error


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
        raise Failure(f"--output {output}: {error.strerror}") from error
    with stream:
        yield stream


def _check(outputs: list[Path], paths: list[str]) -> None:
    """Writing over what is about to be read would lose it."""
    for output in outputs:
        if outputs.count(output) > 1:
            raise Failure(f"--output {output}: given twice")
        for path in paths if output.exists() else ():
            if path != "-" and Path(path).exists() and output.samefile(path):
                raise Failure(f"--output {output}: is one of the files to hear; choose another")
