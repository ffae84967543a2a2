"""The interface of audio sources, and the error that they raise."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

if TYPE_CHECKING:
    import numpy as np

MAX_CHANNELS, RATE_RANGE = 64, (1_000, 768_000)
"""The largest supported channel count, and the supported sample rates in Hz."""
Reason = Literal["bad", "truncated", "unavailable", "busy", "lost"]


class SourceError(Exception):
    """A source failed. The message is one line: where, what is wrong, what to do.

    Attributes:
        reason: "bad" if the content is not audio, "truncated" if it is damaged or ends too early,
            "unavailable" if a library or device is missing, "busy" if another program uses the
            device, "lost" if the source stopped.
        try_other_reader: Whether another library may be able to read the file.
    """

    def __init__(self, reason: Reason, message: str, *, try_other_reader: bool = False) -> None:
        super().__init__(message)
        self.reason: Reason = reason
        self.try_other_reader = try_other_reader


class Block(NamedTuple):
    """Consecutive samples of a source.

    ``samples`` is (n, channels) float32. ``start`` is the index of the first of them, counted from
    the start of the source at its own rate.
    """

    start: int
    samples: np.ndarray


class Source(Protocol):
    """A finite source. ``rate`` is in Hz."""

    rate: int
    channels: int

    def blocks(self) -> Iterator[Block]:
        """Yield the samples from first to last. Raises SourceError if they end in a fault."""
        ...

    def close(self) -> None:
        """Close the file or device. May be called twice."""
        ...
