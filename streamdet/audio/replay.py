"""Replays a file as a live source, at its own pace or as fast as it is analysed; for trials."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from streamdet.audio.file import FileSource
from streamdet.audio.live import LiveSource

_CHUNK_S = 0.02


class ReplaySource(LiveSource):
    """A file in a format of libsndfile. With ``loop`` it repeats without a gap."""

    def __init__(
        self,
        name: str,
        path: Path,
        ring_s: float,
        wake: Callable[[], None],
        *,
        realtime: bool = True,
        loop: bool = False,
    ) -> None:
        super().__init__(name, ring_s, wake)
        self._path, self._loop, self.is_realtime = path, loop, realtime

    def capture(self) -> None:
        """Add each chunk of the file, in real time once its end is due."""
        started, count = time.monotonic(), 0
        for samples in self._chunks():
            count += len(samples)
            if self.is_realtime:
                self.stopping.wait(max(0.0, started + count / self.rate - time.monotonic()))
                self.put(samples)
            else:
                self.put_blocking(samples)
            if self.stopping.is_set():
                return

    def _chunks(self) -> Iterator[np.ndarray]:
        while True:
            source = FileSource(self._path)
            if self.ring is None:
                self.set_format(source.rate, source.channels)
            size = round(_CHUNK_S * self.rate)
            try:
                for block in source.blocks():
                    for start in range(0, len(block.samples), size):
                        yield block.samples[start : start + size]
            finally:
                source.close()
            if not self._loop:
                return
