"""A live source: a thread opens it, reads it, and fills a ring buffer.

Nothing waits for that thread. If a device hangs, its thread hangs with it; the supervisor then
abandons both and opens the source again in a new thread.
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

_POLL_S = 0.005


class LiveSource(ABC):
    """One opening of a live source. A subclass implements `capture`.

    Args:
        name: The source name in messages.
        ring_s: The length of the ring buffer in seconds.
        wake: Called when there are new samples, and at the end.

    Attributes:
        ring: The samples; None until the source is open. Closed at the end of the source.
        rate: The sample rate in Hz, known once the source is open.
        channels: The number of channels, known once the source is open.
        clock: When each sample was captured, known once the source is open.
        is_realtime: Whether samples arrive when they are captured.
        ended: Whether the source came to its regular end.
        failure: Why the source failed, or None.
        overflows: How often samples were lost.
        lost: How many samples were lost. They are silence in the ring, so that times stay right.
        min_unread: The reader sets it: ``wake`` is not called for fewer unread samples.
        stopping: Set by `close`; `capture` returns soon after.
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
        """Start opening the source. Returns at once."""
        self._thread.start()

    def close(self) -> None:
        """Ask the thread to stop. Returns at once. Samples that arrive later are discarded."""
        self.stopping.set()
        if self.ring is not None:
            self.ring.close()

    def join(self, seconds: float) -> None:
        """Wait up to ``seconds`` for the thread to end."""
        if self._thread.ident is not None:
            self._thread.join(seconds)

    @property
    def stuck(self) -> bool:
        """Whether the thread still runs. After `close` this means that it hangs in a call."""
        return self._thread.is_alive()

    @property
    def done(self) -> bool:
        """Whether the source ended or failed."""
        return self.ended or self.failure is not None

    @abstractmethod
    def capture(self) -> None:
        """Open the source, call `set_format`, then `put` samples until ``stopping`` is set.

        Returns at the end of a source that has one. Raises SourceError.
        """

    def set_format(self, rate: int, channels: int) -> None:
        """Set the sample rate in Hz and the channel count, and create the ring buffer.

        Raises SourceError if they are out of range.
        """
        if not RATE_RANGE[0] <= rate <= RATE_RANGE[1] or not 1 <= channels <= MAX_CHANNELS:
            raise SourceError(
                "bad", f"{self.name}: unsupported format: {rate} Hz, {channels} channels"
            )
        self.rate, self.channels = rate, channels
        self.clock = SampleClock(rate)
        self.ring = RingBuffer(round(self._ring_s * rate), channels)

    def put(self, samples: np.ndarray, latency_s: float = 0.0) -> None:
        """Add ``(n, channels) float32`` samples, the last of them captured ``latency_s`` ago."""
        ring = self.ring
        if ring is None or self.stopping.is_set():
            return
        try:
            ring.write(samples)
        except ValueError:
            return  # closed in the meantime
        self.clock.record_arrival(ring.written, time.monotonic() - latency_s)
        if ring.unread >= self.min_unread:
            self._wake()

    def put_blocking(self, samples: np.ndarray) -> None:
        """Add samples, as `put`, once at most half of the ring buffer would be unread.

        The other half keeps samples that were read, for the clips of events. A block longer than
        half of the ring buffer is added once nothing is unread.
        """
        ring = self.ring
        limit = 0 if ring is None else ring.capacity // 2
        while ring is not None and not self.stopping.is_set():
            if ring.unread + len(samples) <= max(len(samples), limit):
                self.put(samples)
                return
            self.stopping.wait(_POLL_S)

    def fill_gap(self, latency_s: float = 0.0) -> None:
        """Add silence for lost samples, as many as are missing by the clock."""
        self.overflows += 1
        if self.ring is None or not self.clock.started:
            return
        gap_s = time.monotonic() - latency_s - self.clock.time_of(self.ring.written / self.rate)
        missing = min(int(gap_s * self.rate), self.ring.capacity)
        if missing > 0:
            self.lost += missing
            self.put(np.zeros((missing, self.channels), np.float32), latency_s)

    def _run(self) -> None:
        try:
            self.capture()
            self.ended = True
        except SourceError as error:
            self.failure = error
        finally:
            if not self.done:
                self.failure = SourceError("lost", f"{self.name}: stopped by an internal error")
            if self.ring is not None:
                self.ring.close()
            self._wake()
