"""How `file` hears: each file in turn or many side by side, with a bar, until it is interrupted."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from streamdet.cli.errors import BAD_INPUT, EXIT_CODES, INTERRUPTED, CommandError

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

    from rich.progress import Progress

    from streamdet.audio.pipe import Encoding as PcmEncoding
    from streamdet.audio.source import Source
    from streamdet.cli.event_recorder import EventRecorder
    from streamdet.cli.file_report import FileReports
    from streamdet.formats import EventWriter
    from streamdet.pipeline.files import FileEvent, FilePipeline


@dataclass(frozen=True)
class FileTask:
    """What to do with each file."""

    listener: FilePipeline
    sink: EventWriter
    explain: bool
    scores: Path | None
    start_s: float
    end_s: float | None
    start_unix_s: float | None
    raw: tuple[int, int, PcmEncoding]
    recorder: EventRecorder
    track: str | None
    reports: FileReports


def analyse_files(paths: list[str], task: FileTask, batch: int) -> int:
    """Each file in turn, or so many side by side; the exit code."""
    from concurrent.futures import ThreadPoolExecutor

    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    from streamdet.formats import ScoreExplanation
    from streamdet.text import printable

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    bar = Progress(
        *columns,
        console=console,
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
        disable=not console.is_terminal,
    )
    code = 0
    with bar, _interrupts() as interrupted, ThreadPoolExecutor(batch) as pool:
        hearings = [FileAnalysis(path, task, bar, interrupted) for path in paths]
        if batch > 1:
            for hearing in hearings:
                hearing.begin(pool)
        for hearing in hearings:
            for heard in hearing.events():
                bar.stop()  # the bar and a table may share the terminal
                task.sink.write(
                    heard.event, ScoreExplanation(heard.scores) if task.explain else None
                )
                bar.start()
                task.recorder.add_event(heard, hearing.path)
                task.reports.add_event(heard, hearing.path)
            task.recorder.finish_file(hearing.path)
            task.reports.finish_file(hearing.path, hearing.fault)
            if hearing.fault:
                line = printable(f"streamdet: {hearing.fault}")
                bar.console.print(line, markup=False, highlight=False, soft_wrap=True)
                code = hearing.code if code in (0, hearing.code) else BAD_INPUT
            if interrupted:
                return INTERRUPTED
    return code


class FileAnalysis:
    """One file: its events as they are found, or all at once where a thread finds them; then
    ``fault``, if it could not be heard to its end."""

    def __init__(self, path: str, task: FileTask, bar: Progress, interrupted: list[int]) -> None:
        self.path, self._task, self._bar, self._interrupted = path, task, bar, interrupted
        self._found: Future[list[FileEvent]] | None = None
        self.fault, self.code = "", BAD_INPUT

    def begin(self, pool: ThreadPoolExecutor) -> None:
        """Hear it in one of the threads."""
        self._found = pool.submit(lambda: list(self._analyse()))

    def events(self) -> Iterator[FileEvent]:
        """What is found in it."""
        return iter(self._found.result()) if self._found else self._analyse()

    def _analyse(self) -> Iterator[FileEvent]:
        from streamdet.audio.resample import ChannelError
        from streamdet.audio.source import SourceError

        try:
            yield from self._run()
        except SourceError as error:
            self.fault, self.code = str(error), EXIT_CODES[error.reason]
        except ChannelError as error:
            self.fault = f"{self.path}: {error}"

    def _run(self) -> Iterator[FileEvent]:
        task, bar = self._task, self._bar
        if self._interrupted:
            return
        name = "stdin" if self.path == "-" else self.path
        source, total = _source(self.path, task)
        shown = bar.add_task(name, total=total)
        try:
            yield from task.listener.analyse(
                source,
                name,
                start_unix_s=task.start_unix_s,
                scores_to=task.scores / f"{Path(name).stem}.npz" if task.scores else None,
                on_scores=task.reports.score_callback(self.path),
                progress=lambda samples: bar.advance(shown, samples),
                stopped=lambda: bool(self._interrupted),
            )
        finally:
            source.close()
            bar.remove_task(shown)


def _source(path: str, task: FileTask) -> tuple[Source, int | None]:
    """What to hear, films decoded beside the listening where there is a core for it, and how many
    samples it has, if that is known."""
    from streamdet.audio.media import open_media
    from streamdet.audio.media_source import MediaSource
    from streamdet.audio.pipe import PipeSource, RawFormat
    from streamdet.audio.prefetch import PrefetchedSource
    from streamdet.pipeline.engine_choice import available_cores

    if path != "-":
        source = open_media(Path(path), task.start_s, task.end_s, task.track)
        beside = isinstance(source, MediaSource) and available_cores() > 1
        return PrefetchedSource(source) if beside else source, source.samples_to_read
    if task.start_s or task.end_s is not None:
        raise CommandError("--start and --end: a pipe can't be cut; they are for files")
    return PipeSource(sys.stdin.buffer, RawFormat(*task.raw)), None


@contextmanager
def _interrupts() -> Iterator[list[int]]:
    """Ctrl-C once: stop after this block, everything found so far written. Twice: at once."""
    seen: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        seen.append(number)
        signal.signal(signal.SIGINT, signal.default_int_handler)

    before = signal.signal(signal.SIGINT, note)
    try:
        yield seen
    finally:
        signal.signal(signal.SIGINT, before)
