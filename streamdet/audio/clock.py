"""When a sample was in the air, by the moments at which blocks of them arrived."""

from __future__ import annotations

_HALF_S = 30.0


class SampleClock:
    """Samples arrive late, by a delay that changes, and never early: so of all arrivals lately
    the least late one tells the time. That follows a sound card whose rate is a little off, and a
    server that sends the last seconds at once to whoever connects. Monotonic seconds throughout.
    """

    def __init__(self, rate: int) -> None:
        self.rate = rate
        self._least = self._least_before = float("inf")
        self._began = 0.0

    def record_arrival(self, end: int, at: float) -> None:
        """At ``at`` all samples before index ``end`` were there."""
        offset = at - end / self.rate
        if self._least == float("inf"):
            self._began = at
        elif at - self._began > _HALF_S:
            self._least_before, self._least, self._began = self._least, offset, at
        self._least = min(self._least, offset)

    @property
    def started(self) -> bool:
        """Whether anything has arrived."""
        return self._least != float("inf")

    def time_of(self, seconds: float) -> float:
        """When what is so many seconds behind the first sample was in the air."""
        return min(self._least, self._least_before) + seconds
