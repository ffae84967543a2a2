"""A file as a live source: replayed at its own pace, or as fast as it is heard; for trials."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from streamdet.audio.file import FileSource
from streamdet.audio.live import LiveSource

_PIECE_S = 0.02


class ReplaySource(LiveSource):
    """A file that libsndfile reads. ``loop``: begin again at its end, without a gap."""

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
        self._path, self._loop, self.timed = path, loop, realtime

    def capture(self) -> None:
        """Put piece after piece, each when its end is due."""
        began, given = time.monotonic(), 0
        for samples in self._pieces():
            given += len(samples)
            if self.timed:
                self.stopping.wait(max(0.0, began + given / self.rate - time.monotonic()))
                self.put(samples)
            else:
                self.put_blocking(samples)
            if self.stopping.is_set():
                return

    def _pieces(self) -> Iterator[np.ndarray]:
        while True:
            source = FileSource(self._path)
            if self.ring is None:
                self.set_format(source.rate, source.channels)
            size = round(_PIECE_S * self.rate)
            try:
                for block in source.blocks():
                    for at in range(0, len(block.samples), size):
                        yield block.samples[at : at + size]
            finally:
                source.close()
            if not self._loop:
                return
