"""Run `file`: analyse each file in turn or several side by side, with a progress bar."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from streamdet.cli.errors import BAD_INPUT, EXIT_CODE_BY_REASON, INTERRUPTED, CommandError

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

    from rich.progress import Progress

    from streamdet.audio.pipe import RawFormat
    from streamdet.audio.source import Source
    from streamdet.cli.event_outputs import EventOutputs
    from streamdet.cli.event_recorder import EventRecorder
    from streamdet.cli.file_report import FileReports
    from streamdet.pipeline.files import FileEvent, FilePipeline


@dataclass(frozen=True)
class InputOptions:
    """How each file is read.

    ``start_s`` and ``end_s`` are seconds of the file. ``start_unix_s`` is the UTC time of its first
    sample. ``raw`` is the format of raw PCM on stdin.
    """

    start_s: float
    end_s: float | None
    start_unix_s: float | None
    track: str | None
    raw: RawFormat


@dataclass(frozen=True)
class FileTask:
    """How files are analysed, and where their events and scores go."""

    pipeline: FilePipeline
    inputs: InputOptions
    outputs: EventOutputs
    recorder: EventRecorder
    reports: FileReports
    scores: Path | None
    explain: bool


def analyse_files(paths: list[str], task: FileTask, batch: int) -> int:
    """Analyse the files, ``batch`` of them side by side. Returns the exit code."""
    from concurrent.futures import ThreadPoolExecutor

    code = 0
    with (
        progress_bar() as bar,
        _interrupt_signals() as interrupts,
        ThreadPoolExecutor(batch) as pool,
    ):
        analyses = [FileAnalysis(path, task, bar, interrupts) for path in paths]
        if batch > 1:
            for analysis in analyses:
                analysis.submit(pool)
        for analysis in analyses:
            _record_events(analysis, task, bar)
            if analysis.fault:
                print_message(bar, analysis.fault)
                code = analysis.code if code in (0, analysis.code) else BAD_INPUT
            if interrupts:
                return INTERRUPTED
    return code


def _record_events(analysis: FileAnalysis, task: FileTask, bar: Progress) -> None:
    from streamdet.formats import ScoreExplanation

    for found in analysis.events():
        bar.stop()  # events may go to the same terminal
        explanation = ScoreExplanation(found.scores) if task.explain else None
        task.outputs.write(found.event, explanation)
        bar.start()
        task.recorder.add_event(found, analysis.path)
        task.reports.add_event(found, analysis.path)
    task.recorder.finish_file(analysis.path)
    task.reports.finish_file(analysis.path, analysis.fault, analysis.threshold)
    if task.pipeline.budget is not None and not analysis.fault:
        print_message(bar, f"{analysis.path}: threshold {analysis.threshold:.4f} for the budget")


class FileAnalysis:
    """The analysis of one file, in this thread or in one of a pool.

    After `events`, ``fault`` is one line about a file that could not be read to its end, with its
    exit code ``code``, and ``threshold`` is the score from which on there were events.
    """

    def __init__(self, path: str, task: FileTask, bar: Progress, interrupts: list[int]) -> None:
        self.path, self._task, self._bar, self._interrupts = path, task, bar, interrupts
        self._future: Future[list[FileEvent]] | None = None
        self.fault, self.code = "", BAD_INPUT
        self.threshold = task.pipeline.decision.threshold

    def submit(self, pool: ThreadPoolExecutor) -> None:
        """Analyse the file in a thread of the pool."""
        self._future = pool.submit(lambda: list(self._analyse()))

    def events(self) -> Iterator[FileEvent]:
        """The events as they are found, or all at once from the pool."""
        return iter(self._future.result()) if self._future else self._analyse()

    def _analyse(self) -> Iterator[FileEvent]:
        from streamdet.audio.resample import ChannelError
        from streamdet.audio.source import SourceError

        try:
            yield from self._run_pipeline()
        except SourceError as error:
            self.fault, self.code = str(error), EXIT_CODE_BY_REASON[error.reason]
        except ChannelError as error:
            self.fault = f"{self.path}: {error}"

    def _run_pipeline(self) -> Iterator[FileEvent]:
        task, bar = self._task, self._bar
        if self._interrupts:
            return
        name = "stdin" if self.path == "-" else self.path
        source, sample_count = _open_source(self.path, task.inputs)
        passes = 1 if task.pipeline.budget is None else 2
        bar_task = bar.add_task(name, total=sample_count and sample_count * passes)
        try:
            pipeline = task.pipeline
            if passes == 2:
                pipeline = pipeline.with_file_threshold(
                    source,
                    progress=lambda samples: bar.advance(bar_task, samples),
                    stopped=lambda: bool(self._interrupts),
                )
                self.threshold = pipeline.decision.threshold
                source.close()
                source, _ = _open_source(self.path, task.inputs)
            yield from pipeline.analyse(
                source,
                name,
                start_unix_s=task.inputs.start_unix_s,
                scores_to=task.scores / f"{Path(name).stem}.npz" if task.scores else None,
                on_scores=task.reports.score_callback(self.path),
                progress=lambda samples: bar.advance(bar_task, samples),
                stopped=lambda: bool(self._interrupts),
            )
        finally:
            source.close()
            bar.remove_task(bar_task)


def _open_source(path: str, inputs: InputOptions) -> tuple[Source, int | None]:
    """The source and its number of samples, None if unknown.

    Media that PyAV decodes are decoded in a thread of their own where there are several cores.
    """
    from streamdet.audio.media import open_media
    from streamdet.audio.media_source import MediaSource
    from streamdet.audio.pipe import PipeSource
    from streamdet.audio.prefetch import PrefetchedSource
    from streamdet.pipeline.engine_choice import available_cores

    if path != "-":
        source = open_media(Path(path), inputs.start_s, inputs.end_s, inputs.track)
        prefetch = isinstance(source, MediaSource) and available_cores() > 1
        return PrefetchedSource(source) if prefetch else source, source.samples_to_read
    if inputs.start_s or inputs.end_s is not None:
        raise CommandError("--start and --end: not available for stdin, only for files")
    return PipeSource(sys.stdin.buffer, inputs.raw), None


def progress_bar() -> Progress:
    """A bar on stderr, shown only on a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    return Progress(
        *columns,
        console=console,
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
        disable=not console.is_terminal,
    )


def print_message(bar: Progress, message: str) -> None:
    """Print one line about a file above the bar."""
    from streamdet.text import printable

    line = printable(f"streamdet: {message}")
    bar.console.print(line, markup=False, highlight=False, soft_wrap=True)


@contextmanager
def _interrupt_signals() -> Iterator[list[int]]:
    """The SIGINT received so far. The first Ctrl-C lets the current block finish, a second one
    interrupts at once."""
    received: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        received.append(number)
        signal.signal(signal.SIGINT, signal.default_int_handler)

    previous = signal.signal(signal.SIGINT, note)
    try:
        yield received
    finally:
        signal.signal(signal.SIGINT, previous)
