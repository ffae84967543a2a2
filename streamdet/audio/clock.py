"""Estimates when a sample was captured, from the times at which blocks of samples arrive."""

from __future__ import annotations

_WINDOW_S = 30.0


class SampleClock:
    """Maps positions in a live stream to monotonic time in seconds.

    Blocks arrive late by a varying delay, never early. The arrival with the least delay in the
    last 30 to 60 s is therefore the best estimate. This follows a sound card whose rate is
    slightly off, and a server that sends the last seconds at once to a new client.
    """

    def __init__(self, rate: int) -> None:
        self.rate = rate
        self._min_offset = self._previous_min_offset = float("inf")
        self._window_start = 0.0

    def record_arrival(self, end: int, at: float) -> None:
        """Record that all samples before the index ``end`` had arrived at the time ``at``."""
        offset = at - end / self.rate
        if self._min_offset == float("inf"):
            self._window_start = at
        elif at - self._window_start > _WINDOW_S:
            self._previous_min_offset, self._min_offset = self._min_offset, offset
            self._window_start = at
        self._min_offset = min(self._min_offset, offset)

    @property
    def started(self) -> bool:
        """Whether any samples have arrived."""
        return self._min_offset != float("inf")

    def time_of(self, seconds: float) -> float:
        """Return when the sound ``seconds`` after the first sample was captured."""
        return min(self._min_offset, self._previous_min_offset) + seconds
