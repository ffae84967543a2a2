"""A pipe as a live source: stdin, or a FIFO that other programs write to."""

from __future__ import annotations

import os
import select
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from streamdet.audio.live import LiveSource
from streamdet.audio.pipe import PipeSource, RawFormat
from streamdet.audio.source import SourceError

_LOOK_S = 0.25


class FifoSource(LiveSource):
    """``path`` is "-" for stdin. A WAV stream, or PCM of the ``raw`` format; the end of stdin is
    the end, that of a FIFO means that its writer has gone. Whoever writes faster than is heard has
    to wait."""

    def __init__(
        self, name: str, path: str, raw: RawFormat, ring_s: float, wake: Callable[[], None]
    ) -> None:
        super().__init__(name, ring_s, wake)
        self._path, self._raw = path, raw

    def capture(self) -> None:
        """Put what comes out of it."""
        called = "stdin" if self._path == "-" else self._path
        with self._open() as pipe:
            waited_for = _PollingReader(pipe, self.stopping.is_set)
            source = PipeSource(waited_for, self._raw, called)  # pyright: ignore[reportArgumentType]
            self.set_format(source.rate, source.channels)
            try:
                for block in source.blocks():
                    self.put_blocking(block.samples)
            except SourceError:
                if self._path != "-":
                    raise  # the end of stdin is its end, in the midst of a header's promise too
        if self._path != "-" and not self.stopping.is_set():
            raise SourceError("lost", f"{called}: its writer has gone")

    def _open(self) -> BinaryIO:
        if self._path == "-":
            return os.fdopen(os.dup(sys.stdin.fileno()), "rb", buffering=0)
        path = Path(self._path)
        try:
            if not stat.S_ISFIFO(path.stat().st_mode):
                raise SourceError("bad", f"{path}: not a FIFO; mkfifo makes one")
            # not waiting for a writer: `_Waited` does, and can be told to stop
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        except OSError as error:
            raise SourceError("unavailable", f"{path}: {error.strerror or error}") from error
        return os.fdopen(descriptor, "rb", buffering=0)


class _PollingReader:
    """A pipe whose `read` gives what there is, waits where there is nothing, and comes back with
    nothing at its end or once it is to stop."""

    def __init__(self, pipe: BinaryIO, stopped: Callable[[], bool]) -> None:
        self._pipe, self._stopped = pipe, stopped

    def read(self, count: int) -> bytes:
        """Up to ``count`` bytes."""
        while not self._stopped():
            ready, _, _ = select.select([self._pipe], [], [], _LOOK_S)
            got = self._pipe.read(count) if ready else None
            if got is not None:
                return got
        return b""
