"""How far a scan is: files, hours of audio an hour, the time that is left."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

if TYPE_CHECKING:
    from streamdet.scan.discovery import MediaFile
    from streamdet.scan.scan import ScannedFile


class ScanProgress:
    """A bar on a terminal's stderr, of the bytes that are done, and what it comes to in words."""

    def __init__(self, files: Sequence[MediaFile]) -> None:
        self._console = Console(stderr=True)
        columns = (
            TextColumn("{task.fields[files]}"), BarColumn(), TextColumn("{task.fields[speed]}"),
            TimeRemainingColumn(),
        )  # fmt: skip
        self._bar = Progress(
            *columns, console=self._console, transient=True, redirect_stdout=False,
            redirect_stderr=False, disable=not self._console.is_terminal,
        )  # fmt: skip
        self._files = len(files)
        self._states: Counter[str] = Counter()
        self._known = self._events = 0
        self._seconds, self._began = 0.0, time.monotonic()
        size = sum(found.size for found in files)
        self._task = self._bar.add_task("", total=size, files=f"0/{self._files} files", speed="")

    def __enter__(self) -> ScanProgress:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def add_file(self, done: ScannedFile) -> None:
        """One file more."""
        heard = done.result
        self._states[heard.state] += 1
        self._events += len(heard.events)
        if done.is_new:
            self._seconds += heard.seconds
        else:
            self._known += 1
        files = f"{self._states.total()}/{self._files} files"
        self._bar.update(self._task, files=files, speed=self._speed())
        if done.is_new:
            self._bar.advance(self._task, heard.file.size)
        else:  # it says nothing of the time that the others take
            left = (self._bar.tasks[0].total or 0) - heard.file.size
            self._bar.update(self._task, total=left)

    def print_line(self, line: str) -> None:
        """A line above the bar."""
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)

    def summary(self, *, interrupted: bool) -> str:
        """What it comes to, in a line."""
        states = self._states
        heard = states["heard"] + states["damaged"]
        words = [f"{heard} of {_counted(self._files, 'file')} heard"]
        if self._known:
            words.append(f"{self._known} of them before")
        if states["damaged"]:
            words.append(f"{states['damaged']} damaged")
        if states["failed"]:
            words.append(f"{states['failed']} could not be read")
        words.append(_counted(self._events, "event"))
        if self._seconds:
            words.append(f"{self._seconds / 3600:.2f} h of audio, {self._speed()}")
        said = ", ".join(words)
        return f"interrupted: {said}; the same command goes on" if interrupted else said

    def _speed(self) -> str:
        """Hours of audio an hour."""
        past = time.monotonic() - self._began
        return f"{self._seconds / past:,.0f} h/h" if self._seconds and past else ""


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
