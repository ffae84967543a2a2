"""What a source of samples is, and the one kind of error it raises."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

if TYPE_CHECKING:
    import numpy as np

MAX_CHANNELS, RATE_RANGE = 64, (1_000, 768_000)
"""What is taken for sound: channels, and rates in Hz."""
Reason = Literal["bad", "truncated", "unavailable", "busy", "lost"]


class SourceError(Exception):
    """A source failed; the message is one line: where, what, what to do.

    ``reason`` is "bad" for something that is no audio, "truncated" for audio that ends too
    early, "unavailable" for a library or device that is not there, "busy" for one that
    another program holds, and "lost" for one that stopped. ``foreign``: another reader may know
    what it is.
    """

    def __init__(self, reason: Reason, message: str, *, foreign: bool = False) -> None:
        super().__init__(message)
        self.reason: Reason = reason
        self.try_other_reader = foreign


class Block(NamedTuple):
    """``samples``: (n, channels) float32; ``start``: the index of the first since sample 0
    of the source, in samples of its own rate."""

    start: int
    samples: np.ndarray


class Source(Protocol):
    """A finite source: a rate in Hz, a channel count, and blocks in order."""

    rate: int
    channels: int

    def blocks(self) -> Iterator[Block]:
        """The samples from first to last; raises SourceError where they end in a fault."""
        ...

    def close(self) -> None:
        """Let go of the file or device; may be called twice."""
        ...
