"""What steps a batch of streams: samples in, frames of scores out.

An `Engine` holds a bundle made ready for blocks of one size, nothing else: no clock and no file.
`CompiledEngine` runs it by JAX, `PlainEngine` by numpy alone; both give the same frames. A block is
a whole number of frames; `Stream` cuts samples of any chunking into blocks.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Protocol

import numpy as np

from streamdet.detection.event import ModelId
from streamdet.detection.frames import FrameGrid, ScoredFrames
from streamdet.model.bundle import Bundle


class StreamProvider(Protocol):
    """Where streams come from: an engine of one, or a batch. ``shared``: a stream waits in `feed`
    until all the others of the engine have a block too."""

    shared: bool

    @property
    def grid(self) -> FrameGrid:
        """How frames lie on samples."""
        ...

    def stream(self) -> ScoreStream:
        """A stream that has heard nothing."""
        ...


class Engine(ABC):
    """A bundle ready for blocks of ``block_frames`` frames of ``streams`` streams."""

    shared = False

    def __init__(self, bundle: Bundle, *, streams: int = 1, block_frames: int = 2) -> None:
        self.bundle, self.streams = bundle, streams
        front, model = bundle.frontend, bundle.model
        self._grid = FrameGrid(front.sample_rate, front.hop, model.stride, model.labels)
        self.block = block_frames * self._grid.frame

    @property
    def grid(self) -> FrameGrid:
        """How frames lie on samples."""
        return self._grid

    @property
    def model(self) -> ModelId:
        """Which bundle speaks."""
        return ModelId(self.bundle.name, self.bundle.version, self.bundle.sha256)

    @abstractmethod
    def initial_state(self) -> Any:
        """The state before the first sample."""

    @abstractmethod
    def step(self, state: Any, samples: np.ndarray) -> tuple[Any, list[ScoredFrames]]:
        """``(streams, block) float32`` -> the new state and the frames of each stream."""

    @abstractmethod
    def step_rows(
        self, state: Any, samples: np.ndarray, rows: np.ndarray, fresh: np.ndarray
    ) -> tuple[Any, list[ScoredFrames]]:
        """A step of some streams alone, the others as they were: ``(k, block) float32`` of the
        streams ``rows`` (k,), of which those of ``fresh`` (k,) bool have heard nothing; the new
        state of all and the frames of each of the k."""

    @abstractmethod
    def grow(self, state: Any, streams: int) -> Any:
        """The engine becomes one of more streams; the state with those behind the others."""

    def warm_up(self) -> None:
        """Do once what the first step would do alone, so that no audio has to wait for it."""
        self.step(self.initial_state(), np.zeros((self.streams, self.block), np.float32))

    def stream(self) -> ScoreStream:
        """A stream that has heard nothing; raises ValueError for an engine of several."""
        return ScoreStream(self)


def frames_per_block(bundle: Bundle, seconds: float) -> int:
    """The frames of a block of about so many seconds, one at least."""
    frame = bundle.frontend.hop * bundle.model.stride
    return max(1, round(seconds * bundle.frontend.sample_rate / frame))


class ScoreStream:
    """One stream over an engine of one: `feed` takes chunks of any length."""

    def __init__(self, engine: Engine) -> None:
        if engine.streams != 1:
            raise ValueError(f"a Stream wants an engine of one stream, not {engine.streams}")
        self.engine = engine
        self._state = engine.initial_state()
        self._pending = np.zeros(engine.block, np.float32)
        self._held = 0

    @property
    def samples_needed(self) -> int:
        """Samples that complete the next block."""
        return self.engine.block - self._held

    def feed(self, samples: np.ndarray) -> list[ScoredFrames]:
        """``(n,) float32`` samples; the frames of every block that they complete."""
        frames = []
        while len(samples):
            taken = samples[: self.engine.block - self._held]
            self._pending[self._held : self._held + len(taken)] = taken
            self._held += len(taken)
            samples = samples[len(taken) :]
            if self._held == self.engine.block:
                frames += self._run(self._pending[None])
                self._held = 0
        return frames

    def poll(self) -> list[ScoredFrames]:
        """The frames that others' steps have made meanwhile; none, where it is alone."""
        return []

    def finish(self) -> list[ScoredFrames]:
        """The frames of what is left, the last one filled up with silence."""
        if not self._held:
            return self._drain()
        count = -(-self._held // self.engine.grid.frame)
        self._pending[self._held :] = 0.0
        self._held = 0
        *frames, last = self._run(self._pending[None]) + self._drain()
        return [*frames, ScoredFrames(*(x[:count] for x in last))]

    def close(self) -> None:
        """Let go of whatever it holds; nothing is fed behind that."""

    def _run(self, block: np.ndarray) -> list[ScoredFrames]:
        self._state, frames = self.engine.step(self._state, block)
        return frames

    def _drain(self) -> list[ScoredFrames]:
        """The frames of blocks that are still on their way."""
        return []
