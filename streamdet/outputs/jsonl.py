"""JSON lines outputs: stdout, and a file that is rotated by size.

If only part of a line can be written, as on a full disk, the next try writes the rest, so that
lines are never mixed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

from streamdet.outputs.queue import Output, OutputError, Record


class _LineWriter:
    """Writes whole lines to a file descriptor, continuing after a partial write."""

    def __init__(self) -> None:
        self.line = self.rest = b""

    def write(self, descriptor: int, line: bytes) -> None:
        if not self.rest:
            self.line = self.rest = line
        while self.rest:
            self.rest = self.rest[os.write(descriptor, self.rest) :]

    @property
    def partial(self) -> int:
        """Number of bytes written of an incomplete line."""
        return len(self.line) - len(self.rest) if self.rest else 0


class StdoutOutput(Output):
    """Writes lines to stdout. ``on_closed`` is called if the reader of the pipe has closed it."""

    def __init__(self, on_closed: Callable[[], None], descriptor: int = 1) -> None:
        self._on_closed, self._descriptor = on_closed, descriptor
        self._lines = _LineWriter()

    def deliver(self, record: Record) -> None:
        """Write a record. Raises OutputError if that fails."""
        try:
            self._lines.write(self._descriptor, encode_line(record))
        except BrokenPipeError as error:
            self._on_closed()
            raise OutputError("stdout: closed by its reader", final=True) from error
        except OSError as error:
            raise OutputError(f"stdout: {error.strerror or error}") from error


class RotatingFileOutput(Output):
    """Writes lines to a file. Before it exceeds ``max_bytes`` it is renamed to PATH.1, an earlier
    PATH.1 to PATH.2 and so on, up to ``keep`` files."""

    def __init__(self, path: Path, max_bytes: int, keep: int) -> None:
        self._path, self._max_bytes, self._keep = path, max_bytes, keep
        self._lines = _LineWriter()
        self._descriptor: int | None = None

    def deliver(self, record: Record) -> None:
        """Write a record. Raises OutputError, for example if the disk is full."""
        line = encode_line(record)
        try:
            if self._descriptor is None:
                self._open()
            if not self._lines.rest and self._size() + len(line) > self._max_bytes:
                self._rotate()
            self._lines.write(self._descriptor or 0, line)
        except OSError as error:
            raise OutputError(f"{self._path}: {error.strerror or error}") from error

    def close(self) -> None:
        """Close the file, and remove an incomplete line from its end."""
        if self._descriptor is not None:
            if partial := self._lines.partial:
                os.ftruncate(self._descriptor, self._size() - partial)
            os.close(self._descriptor)
            self._descriptor = None

    def _size(self) -> int:
        return os.fstat(self._descriptor).st_size if self._descriptor is not None else 0

    def _open(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        self._descriptor = os.open(self._path, flags, 0o640)
        self._terminate_last_line()

    def _terminate_last_line(self) -> None:
        """Terminate a line that a killed process has left incomplete."""
        size = self._size()
        descriptor = self._descriptor
        if descriptor is not None and size and os.pread(descriptor, 1, size - 1) != b"\n":
            self._lines.write(descriptor, b"\n")

    def _rotate(self) -> None:
        if not self._size():
            return
        for number in range(self._keep - 1, 0, -1):
            rotated = self._numbered(number)
            if rotated.exists():
                rotated.replace(self._numbered(number + 1))
        self._path.replace(self._numbered(1))
        os.close(self._descriptor or 0)
        self._descriptor = None
        self._open()

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")


def encode_line(record: Record) -> bytes:
    """A record as one line of JSON in UTF-8."""
    return json.dumps(record, separators=(",", ":")).encode() + b"\n"
