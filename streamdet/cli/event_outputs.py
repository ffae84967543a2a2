"""Where `file` and `scan` write events: to stdout, or to files in the format of their suffix."""

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


class OutputFormat(StrEnum):
    """The formats of events."""

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
    """The output options of a command, as given.

    Events go to stdout where ``files`` is empty, unless ``use_stdout`` is false. ``output_format``
    overrides the suffix of a single file. ``fps`` and ``start_timecode`` override what a film
    states. ``allow_reports`` is true where the command also writes HTML reports.
    """

    files: list[Path]
    output_format: OutputFormat | None = None
    explain: bool = False
    fps: str | None = None
    start_timecode: str | None = None
    use_stdout: bool = True
    allow_reports: bool = False

    @property
    def targets(self) -> list[Path | None]:
        """The files to write. None is stdout."""
        return [*self.files] if self.files or not self.use_stdout else [None]


class EventOutputs:
    """Writes each event to all outputs of a command."""

    def __init__(self, writers: list[EventWriter], formats: list[EventFormat]) -> None:
        self._writers = writers
        self.has_table = "table" in formats
        self.event_count = 0

    def write(self, event: Event, explanation: ScoreExplanation | None = None) -> None:
        """Write one event to each output."""
        self.event_count += 1
        for writer in self._writers:
            writer.write(event, explanation)

    def close(self) -> None:
        """Write what each format needs at its end."""
        for writer in self._writers:
            writer.close()


def split_reports(outputs: list[Path], paths: list[str]) -> tuple[list[Path], list[Path]]:
    """The reports (.html) and the other files of ``--output``.

    Raises CommandError where an output is given twice or is one of the input files.
    """
    from streamdet.formats import REPORT_SUFFIX

    _check_paths(outputs, paths)
    reports = [output for output in outputs if output.suffix.lower() == REPORT_SUFFIX]
    return reports, [output for output in outputs if output not in reports]


def check_outputs(options: OutputOptions, paths: list[str]) -> None:
    """Raise CommandError for outputs that `open_outputs` would refuse. Truncates no file."""
    _check_paths(options.files, paths)
    _choose_formats(options, paths)
    for output in options.files:
        try:
            output.open("a").close()
        except OSError as error:
            raise CommandError(f"--output {output}: {error.strerror}") from error


def require_otio() -> None:
    """Raise CommandError where OpenTimelineIO is not installed."""
    try:
        import opentimelineio  # noqa: F401
    except ImportError as error:
        raise CommandError("otio: needs OpenTimelineIO: pip install 'streamdet[edit]'") from error


@contextmanager
def open_outputs(options: OutputOptions, paths: list[str]) -> Iterator[EventOutputs]:
    """Open all outputs for the events of the input files ``paths``.

    Raises CommandError before any file is touched where an option is wrong.
    """
    from streamdet.formats import EDIT_FORMATS, open_writer

    _check_paths(options.files, paths)
    formats = _choose_formats(options, paths)
    has_edit = any(output_format in EDIT_FORMATS for output_format in formats)
    timebase = _film_timebase(options, paths[0]) if has_edit else None
    if "otio" in formats:
        require_otio()
    with ExitStack() as stack:
        streams = [stack.enter_context(_open_stream(target)) for target in options.targets]
        writers = [
            open_writer(output_format, stream, explain=options.explain, timebase=timebase)
            for output_format, stream in zip(formats, streams, strict=True)
        ]
        yield EventOutputs(writers, formats)


def _choose_formats(options: OutputOptions, paths: list[str]) -> list[EventFormat]:
    from streamdet.formats import SINGLE_FILE_FORMATS

    if options.output_format is not None and len(options.files) > 1:
        raise CommandError(
            "--format: not allowed with several --output, whose suffixes set the formats"
        )
    formats: list[EventFormat] = [_choose_format(options, path) for path in options.targets]
    single = [output_format for output_format in formats if output_format in SINGLE_FILE_FORMATS]
    if single and len(paths) > 1:
        raise CommandError(f"{single[0]}: holds the events of one file. Give a single PATH")
    return formats


def _choose_format(options: OutputOptions, target: Path | None) -> EventFormat:
    from streamdet.formats import FORMATS, REPORT_SUFFIX, SUFFIX_OF, format_for

    if options.output_format is not None:
        return FORMATS[options.output_format]
    if target is None:
        return "table" if sys.stdout.isatty() else "jsonl"
    if (output_format := format_for(target.name)) is not None:
        return output_format
    suffixes = [*SUFFIX_OF.values(), *([REPORT_SUFFIX] if options.allow_reports else [])]
    raise CommandError(f"--output {target}: unknown format. Use one of {', '.join(suffixes)}")


def _film_timebase(options: OutputOptions, path: str) -> Timebase:
    """The frame rate and start timecode of the options, else those that the film states."""
    from streamdet.formats import timecode

    fps, start = options.fps, options.start_timecode
    if path != "-" and (fps is None or start is None):
        from streamdet.audio import ffmpeg

        film_fps, film_start = ffmpeg.video_timebase(Path(path))
        fps = fps or film_fps
        start = start or film_start
    if fps is None:
        raise CommandError(f"{path}: states no frame rate. Give --fps")
    try:
        timebase = timecode.parse_frame_rate(fps)
    except ValueError as error:
        raise CommandError(f"--fps {fps}: {error}") from error
    if start is None:
        return timebase
    try:
        return timebase.with_start(start)
    except ValueError as error:
        raise CommandError(f"--start-timecode {start}: {error}") from error


@contextmanager
def _open_stream(target: Path | None) -> Iterator[TextIO]:
    if target is None:
        if isinstance(sys.stdout, TextIOWrapper):
            sys.stdout.reconfigure(errors="backslashreplace")
        yield sys.stdout
        return
    try:
        stream = target.open("w", encoding="utf-8", errors="backslashreplace", newline="")
    except OSError as error:
        raise CommandError(f"--output {target}: {error.strerror}") from error
    with stream:
        yield stream


def _check_paths(outputs: list[Path], paths: list[str]) -> None:
    """Refuse to write over an input file, or to write one file twice."""
    for output in outputs:
        if outputs.count(output) > 1:
            raise CommandError(f"--output {output}: given twice")
        for path in paths if output.exists() else ():
            if path != "-" and Path(path).exists() and output.samefile(path):
                raise CommandError(f"--output {output}: is an input file. Use another name")
