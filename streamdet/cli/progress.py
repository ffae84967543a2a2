"""The progress of a scan: files done, hours of audio per hour, remaining time."""

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
    """Counts the files of a scan, with a bar over their bytes where stderr is a terminal."""

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
        self._file_count = len(files)
        self._states: Counter[str] = Counter()
        self._known_count = self._event_count = 0
        self._analysed_s, self._start_s = 0.0, time.monotonic()
        total_bytes = sum(file.size for file in files)
        self._task = self._bar.add_task(
            "", total=total_bytes, files=f"0/{self._file_count} files", speed=""
        )

    def __enter__(self) -> ScanProgress:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def add_file(self, scanned: ScannedFile) -> None:
        """Count a file that is done."""
        result = scanned.result
        self._states[result.state] += 1
        self._event_count += len(result.events)
        if scanned.is_new:
            self._analysed_s += result.seconds
        else:
            self._known_count += 1
        files = f"{self._states.total()}/{self._file_count} files"
        self._bar.update(self._task, files=files, speed=self._speed())
        if scanned.is_new:
            self._bar.advance(self._task, result.file.size)
        else:  # took no time, and would distort the estimate of the remaining time
            remaining = (self._bar.tasks[0].total or 0) - result.file.size
            self._bar.update(self._task, total=remaining)

    def print_line(self, line: str) -> None:
        """Print a line above the bar."""
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)

    def summary(self, *, interrupted: bool) -> str:
        """The counts in one line."""
        analysed = self._states["analysed"] + self._states["damaged"]
        parts = [f"{analysed} of {_count(self._file_count, 'file')} analysed"]
        if self._known_count:
            parts.append(f"{self._known_count} of them in an earlier run")
        if self._states["damaged"]:
            parts.append(f"{self._states['damaged']} damaged")
        if self._states["failed"]:
            parts.append(f"{self._states['failed']} could not be read")
        parts.append(_count(self._event_count, "event"))
        if self._analysed_s:
            parts.append(f"{self._analysed_s / 3600:.2f} h of audio, {self._speed()}")
        summary = ", ".join(parts)
        if interrupted:
            return f"interrupted: {summary}. Run the same command again to continue"
        return summary

    def _speed(self) -> str:
        """Hours of audio per hour."""
        elapsed_s = time.monotonic() - self._start_s
        if not self._analysed_s or not elapsed_s:
            return ""
        return f"{self._analysed_s / elapsed_s:,.0f} times real time"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
