"""Engines and streams: samples in, scored frames out.

An `Engine` runs a bundle over blocks of a fixed size. `NumpyEngine` needs numpy alone, `JaxEngine`
compiles the network with JAX; both return the same frames. A `ScoreStream` cuts samples of any
chunking into blocks.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Generic, Protocol, TypeVar

import numpy as np

from streamdet.detection.event import ModelId
from streamdet.detection.frames import FrameGrid, ScoredFrames
from streamdet.model.bundle import Bundle

StateT = TypeVar("StateT")
"""What an engine carries from one block to the next, for all its streams."""


class StreamProvider(Protocol):
    """What opens streams: an engine of one stream, or a batch of several.

    ``shared`` is True if a stream's `feed` waits until all other streams have a block too.
    """

    @property
    def shared(self) -> bool: ...  # noqa: D102 - described above

    @property
    def grid(self) -> FrameGrid:
        """How frames lie on samples."""
        ...

    @property
    def model(self) -> ModelId:
        """The bundle in use."""
        ...

    def warm_up(self) -> None:
        """Do one-time work such as compilation now instead of in the first step."""
        ...

    def stream(self) -> ScoreStream:
        """Open a stream in its initial state."""
        ...


class Engine(ABC, Generic[StateT]):
    """A bundle ready to run over blocks of ``block`` samples of ``streams`` streams. ``onnx`` is
    True if it uses onnxruntime."""

    shared, onnx = False, False

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
        """The bundle in use."""
        return ModelId(self.bundle.name, self.bundle.version, self.bundle.sha256)

    @abstractmethod
    def initial_state(self) -> StateT:
        """The state of all streams before the first sample."""

    @abstractmethod
    def step(self, state: StateT, samples: np.ndarray) -> tuple[StateT, list[ScoredFrames]]:
        """Analyse one block of every stream.

        ``samples``: (streams, block) float32. Returns the new state and the frames per stream.
        """

    @abstractmethod
    def step_rows(
        self, state: StateT, samples: np.ndarray, rows: np.ndarray, fresh: np.ndarray
    ) -> tuple[StateT, list[ScoredFrames]]:
        """Analyse one block of ``k`` of the streams; the others keep their state.

        ``samples``: (k, block) float32. ``rows``: (k,) int, the streams. ``fresh``: (k,) bool, the
        rows that restart from the initial state. Returns the new state of all streams and the
        frames of the k streams. ``state`` may be overwritten.
        """

    @abstractmethod
    def grow(self, state: StateT, streams: int) -> StateT:
        """Increase the number of streams; returns the state with the new streams at the end."""

    def warm_up(self) -> None:
        """Do one-time work such as compilation now instead of in the first step."""
        self.step(self.initial_state(), np.zeros((self.streams, self.block), np.float32))

    def stream(self) -> ScoreStream:
        """Open a stream in its initial state. Raises ValueError if the engine has several."""
        return EngineStream(self)


def frames_per_block(bundle: Bundle, seconds: float) -> int:
    """The number of frames, at least 1, in a block of about ``seconds``."""
    frame = bundle.frontend.hop * bundle.model.stride
    return max(1, round(seconds * bundle.frontend.sample_rate / frame))


class ScoreStream(ABC):
    """One stream of samples and its scored frames. Call `finish`, then `close`, at its end."""

    @property
    @abstractmethod
    def samples_needed(self) -> int:
        """Samples that complete the next block."""

    @abstractmethod
    def feed(self, samples: np.ndarray) -> list[ScoredFrames]:
        """Add ``(n,) float32`` samples, any n; returns the frames that are ready."""

    @abstractmethod
    def finish(self) -> list[ScoredFrames]:
        """Analyse what is buffered, padded with silence; returns all remaining frames."""

    def poll(self) -> list[ScoredFrames]:
        """The frames that a batch has made since the last call; empty without a batch."""
        return []

    def close(self) -> None:  # noqa: B027 - not every stream occupies something
        """Release what the stream occupies. The stream can't be fed afterwards."""


class BlockStream(ScoreStream):
    """A stream that buffers samples and passes whole blocks on to `_run`."""

    def __init__(self, grid: FrameGrid, block: int) -> None:
        self._grid, self._block = grid, block
        self._pending = np.zeros(block, np.float32)
        self._buffered = 0

    @property
    def samples_needed(self) -> int:
        """Samples that complete the next block."""
        return self._block - self._buffered

    def feed(self, samples: np.ndarray) -> list[ScoredFrames]:
        """Add ``(n,) float32`` samples; returns the frames of the blocks that they complete."""
        frames = []
        while len(samples):
            taken = samples[: self.samples_needed]
            self._pending[self._buffered : self._buffered + len(taken)] = taken
            self._buffered += len(taken)
            samples = samples[len(taken) :]
            if self._buffered == self._block:
                frames += self._run(self._pending[None])
                self._buffered = 0
        return frames

    def finish(self) -> list[ScoredFrames]:
        """Analyse what is buffered, padded with silence; returns all remaining frames."""
        if not self._buffered:
            return self._drain()
        count = -(-self._buffered // self._grid.frame)
        self._pending[self._buffered :] = 0.0
        self._buffered = 0
        *frames, last = self._run(self._pending[None]) + self._drain()
        return [*frames, ScoredFrames(*(x[:count] for x in last))]

    @abstractmethod
    def _run(self, block: np.ndarray) -> list[ScoredFrames]:
        """Analyse a ``(1, block) float32`` block; returns the frames that are ready."""

    def _drain(self) -> list[ScoredFrames]:
        """Wait for the blocks in flight and return their frames."""
        return []


class EngineStream(BlockStream, Generic[StateT]):
    """The only stream of an engine."""

    def __init__(self, engine: Engine[StateT]) -> None:
        if engine.streams != 1:
            raise ValueError(f"stream() needs an engine of one stream; this has {engine.streams}")
        super().__init__(engine.grid, engine.block)
        self._engine, self._state = engine, engine.initial_state()

    def _run(self, block: np.ndarray) -> list[ScoredFrames]:
        self._state, frames = self._engine.step(self._state, block)
        return frames
