"""A pipe as a live source: stdin, or a FIFO that another program writes to."""

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

_POLL_S = 0.25


class FifoSource(LiveSource):
    """A WAV stream, or PCM in the format ``raw``, from a FIFO or from stdin (``path`` "-").

    The end of stdin ends the source. The end of a FIFO means that its writer has gone, which is a
    failure. A writer that is faster than the analysis has to wait.
    """

    def __init__(
        self, name: str, path: str, raw: RawFormat, ring_s: float, wake: Callable[[], None]
    ) -> None:
        super().__init__(name, ring_s, wake)
        self._path, self._raw = path, raw

    def capture(self) -> None:
        """Read the pipe to its end."""
        label = "stdin" if self._path == "-" else self._path
        with self._open() as pipe:
            reader = _PollingReader(pipe, self.stopping.is_set)
            source = PipeSource(reader, self._raw, label)  # pyright: ignore[reportArgumentType]
            self.set_format(source.rate, source.channels)
            try:
                for block in source.blocks():
                    self.put_blocking(block.samples)
            except SourceError:
                # the header of a WAV stream may promise more than stdin delivers
                if self._path != "-":
                    raise
        if self._path != "-" and not self.stopping.is_set():
            raise SourceError("lost", f"{label}: its writer has gone")

    def _open(self) -> BinaryIO:
        if self._path == "-":
            return os.fdopen(os.dup(sys.stdin.fileno()), "rb", buffering=0)
        path = Path(self._path)
        try:
            if not stat.S_ISFIFO(path.stat().st_mode):
                raise SourceError("bad", f"{path}: not a FIFO; create one with mkfifo")
            # non-blocking: `_PollingReader` waits for a writer, and can be stopped
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        except OSError as error:
            raise SourceError("unavailable", f"{path}: {error.strerror or error}") from error
        return os.fdopen(descriptor, "rb", buffering=0)


class _PollingReader:
    """A pipe whose `read` waits for data, and returns nothing at the end or once stopped."""

    def __init__(self, pipe: BinaryIO, stopped: Callable[[], bool]) -> None:
        self._pipe, self._stopped = pipe, stopped

    def read(self, count: int) -> bytes:
        """Return up to ``count`` bytes."""
        while not self._stopped():
            ready, _, _ = select.select([self._pipe], [], [], _POLL_S)
            data = self._pipe.read(count) if ready else None
            if data is not None:
                return data
        return b""
