"""JSON lines for a daemon: on stdout, or in a file that is set aside when it has grown.

A line that could not be written to its end (a full disk) is gone on with where it was cut, so no
reader ever sees half of one with another behind it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

from streamdet.outputs.queue import Output, OutputError, Record


class _LineWriter:
    """Whole lines to a descriptor, over as many tries as it takes."""

    def __init__(self) -> None:
        self.line = self.rest = b""

    def write(self, descriptor: int, line: bytes) -> None:
        if not self.rest:
            self.line = self.rest = line
        while self.rest:
            self.rest = self.rest[os.write(descriptor, self.rest) :]

    @property
    def torn(self) -> int:
        """Bytes of a line of which not all are written."""
        return len(self.line) - len(self.rest) if self.rest else 0


class StdoutOutput(Output):
    """Lines on stdout; ``reader_gone`` is called where the pipe's other end is closed."""

    def __init__(self, reader_gone: Callable[[], None], descriptor: int = 1) -> None:
        self._reader_gone, self._descriptor = reader_gone, descriptor
        self._lines = _LineWriter()

    def deliver(self, record: Record) -> None:
        """Write a line."""
        try:
            self._lines.write(self._descriptor, encode_line(record))
        except BrokenPipeError as error:
            self._reader_gone()
            raise OutputError("stdout: nobody reads it", final=True) from error
        except OSError as error:
            raise OutputError(f"stdout: {error.strerror or error}") from error


class RotatingFileOutput(Output):
    """Lines in a file; once it holds ``max_bytes`` it becomes PATH.1, and that PATH.2, up to
    ``keep``."""

    def __init__(self, path: Path, max_bytes: int, keep: int) -> None:
        self._path, self._max_bytes, self._keep = path, max_bytes, keep
        self._lines = _LineWriter()
        self._descriptor: int | None = None

    def deliver(self, record: Record) -> None:
        """Write a line; raises OutputError where the disk is full or the folder gone."""
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
        """Close the file, without the half of a line."""
        if self._descriptor is not None:
            if torn := self._lines.torn:
                os.ftruncate(self._descriptor, self._size() - torn)
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
        """End a line that a killed process has left half written, so that the next begins anew."""
        size = self._size()
        descriptor = self._descriptor
        if descriptor is not None and size and os.pread(descriptor, 1, size - 1) != b"\n":
            self._lines.write(descriptor, b"\n")

    def _rotate(self) -> None:
        if not self._size():
            return
        for number in range(self._keep - 1, 0, -1):
            older = self._numbered(number)
            if older.exists():
                older.replace(self._numbered(number + 1))
        self._path.replace(self._numbered(1))
        os.close(self._descriptor or 0)
        self._descriptor = None
        self._open()

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")


def encode_line(record: Record) -> bytes:
    """A record as a line of UTF-8."""
    return json.dumps(record, separators=(",", ":")).encode() + b"\n"
