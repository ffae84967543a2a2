"""A live source: a thread of its own opens it, reads it, and fills a ring.

Nobody waits for that thread: a device that hangs keeps it, and whoever supervises the source lets
go of both and begins anew with another.
"""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable

import numpy as np

from streamdet.audio.clock import SampleClock
from streamdet.audio.ring import RingBuffer
from streamdet.audio.source import MAX_CHANNELS, RATE_RANGE, SourceError

_ROOM_S = 0.005


class LiveSource(ABC):
    """One opening of a source. ``name`` is what messages call it; ``wake`` is called whenever
    there is something new. ``timed``: its samples come when they are in the air.

    ``ring`` is None until it is open, and then ``rate`` (Hz), ``channels`` and ``clock`` are
    known. At its end the ring is closed, and ``failure`` says why, or ``ended`` that there is no
    more. ``overflows`` counts the times that samples were lost on the way, ``lost`` the samples,
    which stand as silence in the ring so that time stays right. Whoever reads it may set
    ``wanted``: it is not woken for fewer unread samples.
    """

    def __init__(self, name: str, ring_s: float, wake: Callable[[], None]) -> None:
        self.name, self.is_realtime = name, True
        self.rate = self.channels = 0
        self.ring: RingBuffer | None = None
        self.clock = SampleClock(1)
        self.failure: SourceError | None = None
        self.ended = False
        self.overflows = self.lost = self.min_unread = 0
        self.stopping = threading.Event()
        self._ring_s, self._wake = ring_s, wake
        self._thread = threading.Thread(target=self._run, name=f"streamdet-{name}", daemon=True)

    def start(self) -> None:
        """Begin to open it; returns at once."""
        self._thread.start()

    def close(self) -> None:
        """Tell its thread to let go; returns at once. What comes after is not kept."""
        self.stopping.set()
        if self.ring is not None:
            self.ring.close()

    def join(self, seconds: float) -> None:
        """Wait so long for its thread to have let go."""
        if self._thread.ident is not None:
            self._thread.join(seconds)

    @property
    def stuck(self) -> bool:
        """Its thread is still there: behind `close`, for something that will not return."""
        return self._thread.is_alive()

    @property
    def done(self) -> bool:
        """No more will come, and why is known."""
        return self.ended or self.failure is not None

    @abstractmethod
    def capture(self) -> None:
        """Open, `opened`, then `put` until ``stopping``; returns at the end of what has one.
        Raises SourceError."""

    def set_format(self, rate: int, channels: int) -> None:
        """It gives samples of this rate and so many channels."""
        if not RATE_RANGE[0] <= rate <= RATE_RANGE[1] or not 1 <= channels <= MAX_CHANNELS:
            raise SourceError("bad", f"{self.name}: {rate} Hz in {channels} channels is no audio")
        self.rate, self.channels = rate, channels
        self.clock = SampleClock(rate)
        self.ring = RingBuffer(round(self._ring_s * rate), channels)

    def put(self, samples: np.ndarray, late_s: float = 0.0) -> None:
        """``(n, channels) float32``, the last of them in the air ``late_s`` ago."""
        ring = self.ring
        if ring is None or self.stopping.is_set():
            return
        try:
            ring.write(samples)
        except ValueError:
            return  # closed meanwhile
        self.clock.record_arrival(ring.written, time.monotonic() - late_s)
        if ring.unread >= self.min_unread:
            self._wake()

    def put_blocking(self, samples: np.ndarray) -> None:
        """`put`, for what can wait: once the ring has room for all of it."""
        ring = self.ring
        while ring is not None and not self.stopping.is_set():
            if ring.unread + len(samples) <= ring.capacity:
                self.put(samples)
                return
            self.stopping.wait(_ROOM_S)

    def fill_gap(self, late_s: float = 0.0) -> None:
        """Samples were lost: silence instead, as many as the clock says are missing."""
        self.overflows += 1
        if self.ring is None or not self.clock.started:
            return
        due = time.monotonic() - late_s - self.clock.time_of(self.ring.written / self.rate)
        missing = min(int(due * self.rate), self.ring.capacity)
        if missing > 0:
            self.lost += missing
            self.put(np.zeros((missing, self.channels), np.float32), late_s)

    def _run(self) -> None:
        try:
            self.capture()
            self.ended = True
        except SourceError as error:
            self.failure = error
        finally:
            if not self.done:
                self.failure = SourceError("lost", f"{self.name}: stopped by a fault of ours")
            if self.ring is not None:
                self.ring.close()
            self._wake()
