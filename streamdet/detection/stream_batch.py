"""Live streams in one batch: a step analyses the streams that have a whole block.

Streams open and close without touching the others, and their frames are those that they would have
alone. A batch is not thread-safe: one thread uses it.
"""

from __future__ import annotations

from typing import Generic

import numpy as np

from streamdet.detection.engine import Engine, ScoreStream, StateT
from streamdet.detection.event import ModelId
from streamdet.detection.frames import FrameGrid, ScoredFrames


class StreamBatch(Generic[StateT]):
    """The slots of an engine. Their number doubles when all are occupied."""

    shared = False

    def __init__(self, engine: Engine[StateT]) -> None:
        self.engine = engine
        self._state = engine.initial_state()
        self._free = list(range(engine.streams))[::-1]
        self._slots: dict[int, BatchSlot[StateT]] = {}

    @property
    def grid(self) -> FrameGrid:
        """How frames lie on samples."""
        return self.engine.grid

    @property
    def model(self) -> ModelId:
        """The bundle in use."""
        return self.engine.model

    def warm_up(self) -> None:
        """Do one-time work such as compilation now instead of in the first step."""
        silence = np.zeros((1, self.engine.block), np.float32)
        self.engine.step_rows(self.engine.initial_state(), silence, np.array([0]), np.array([True]))

    def stream(self) -> BatchSlot[StateT]:
        """Open a stream in its initial state."""
        if not self._free:
            count = self.engine.streams
            self._state = self.engine.grow(self._state, 2 * count)
            self._free = list(range(count, 2 * count))[::-1]
        row = self._free.pop()
        self._slots[row] = BatchSlot(self, row)
        return self._slots[row]

    def step(self) -> int:
        """Analyse one block of each stream that has one; returns the number of such streams."""
        block = self.engine.block
        ready = [slot for slot in self._slots.values() if len(slot.pending) >= block]
        if ready:
            self._run(ready)
        return len(ready)

    def _run(self, slots: list[BatchSlot[StateT]]) -> None:
        block = self.engine.block
        samples = np.stack([slot.pending[:block] for slot in slots])
        rows = np.array([slot.row for slot in slots])
        fresh = np.array([slot.fresh for slot in slots])
        self._state, frames = self.engine.step_rows(self._state, samples, rows, fresh)
        for slot, scored in zip(slots, frames, strict=True):
            slot.pending, slot.fresh = slot.pending[block:], False
            slot.scored.append(scored)

    def _release(self, row: int) -> None:
        del self._slots[row]
        self._free.append(row)


class BatchSlot(ScoreStream, Generic[StateT]):
    """One stream of a `StreamBatch`: `feed` stores samples, `poll` returns the scored frames."""

    def __init__(self, batch: StreamBatch[StateT], row: int) -> None:
        self.row, self.fresh = row, True
        self.pending = np.zeros(0, np.float32)
        self.scored: list[ScoredFrames] = []
        self._grid, self._block = batch.grid, batch.engine.block
        self._batch: StreamBatch[StateT] | None = batch

    @property
    def samples_needed(self) -> int:
        """Samples that complete the next block, once all whole blocks are analysed."""
        return self._block - len(self.pending) % self._block

    def feed(self, samples: np.ndarray) -> list[ScoredFrames]:
        """Store ``(n,) float32`` samples for later steps; returns the frames that are ready."""
        if len(samples):
            self.pending = np.concatenate([self.pending, samples])
        return self.poll()

    def poll(self) -> list[ScoredFrames]:
        """The frames that steps have made since the last call."""
        scored, self.scored = self.scored, []
        return scored

    def finish(self) -> list[ScoredFrames]:
        """Analyse what is stored, padded with silence, without waiting for the other streams."""
        count = -(-len(self.pending) // self._grid.frame)
        padding = -len(self.pending) % self._block
        self.pending = np.concatenate([self.pending, np.zeros(padding, np.float32)])
        done = self.poll()
        while self._batch is not None and len(self.pending):
            self._batch._run([self])
            (frames,) = self.poll()
            done.append(ScoredFrames(*(x[:count] for x in frames)))
            count -= len(frames.scores)
        return done

    def close(self) -> None:
        """Free the slot."""
        if self._batch is not None:
            self._batch._release(self.row)
            self._batch = None
