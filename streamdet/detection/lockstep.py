"""Several files in one batch: all streams advance together, one block each per step.

For accelerators, where a step over sixteen streams takes little longer than over one. Each stream
is fed by its own thread, which waits until every other open stream has a block too. The frames are
those that the stream would have alone.
"""

from __future__ import annotations

import threading
from typing import Generic

import numpy as np

from streamdet.detection.engine import BlockStream, Engine, ScoreStream, StateT
from streamdet.detection.event import ModelId
from streamdet.detection.frames import FrameGrid, ScoredFrames


class LockstepBatch(Generic[StateT]):
    """The slots of an engine. A stream occupies one from `stream` to its `close`."""

    shared = True

    def __init__(self, engine: Engine[StateT]) -> None:
        self.engine = engine
        self._state = engine.initial_state()
        self._samples = np.zeros((engine.streams, engine.block), np.float32)
        self._fresh = np.ones(engine.streams, bool)
        self._free, self._occupied = list(range(engine.streams)), set[int]()
        self._ready, self._step_count = set[int](), 0
        self._frames: dict[int, ScoredFrames] = {}
        self._fault: BaseException | None = None
        self._changed = threading.Condition()

    @property
    def grid(self) -> FrameGrid:
        """How frames lie on samples."""
        return self.engine.grid

    @property
    def model(self) -> ModelId:
        """The bundle in use."""
        return self.engine.model

    def warm_up(self) -> None:
        """Compile the step now."""
        everything = np.arange(self.engine.streams)
        fresh = np.ones(len(everything), bool)
        self.engine.step_rows(self.engine.initial_state(), self._samples, everything, fresh)

    def stream(self) -> ScoreStream:
        """Open a stream in its initial state; waits until a slot is free."""
        with self._changed:
            self._changed.wait_for(lambda: self._free)
            slot = self._free.pop()
            self._occupied.add(slot)
            self._fresh[slot] = True
        return _LockstepStream(self, slot)

    def _release(self, slot: int) -> None:
        with self._changed:
            if slot in self._occupied:
                self._occupied.discard(slot)
                self._ready.discard(slot)
                self._free.append(slot)
                self._step_if_all_are_ready()
                self._changed.notify_all()

    def _run(self, slot: int, block: np.ndarray) -> ScoredFrames:
        with self._changed:
            self._samples[slot] = block
            self._ready.add(slot)
            step = self._step_count
            self._step_if_all_are_ready()
            self._changed.wait_for(lambda: self._step_count > step)
            if self._fault is not None:
                raise self._fault
            return self._frames[slot]

    def _step_if_all_are_ready(self) -> None:
        if not self._ready or self._ready != self._occupied:
            return
        rows = np.array(sorted(self._ready))
        try:
            self._state, frames = self.engine.step_rows(
                self._state, self._samples[rows], rows, self._fresh[rows]
            )
            self._frames = dict(zip(rows.tolist(), frames, strict=True))
            self._fresh[rows] = False
        except BaseException as error:  # noqa: BLE001 - raised in every waiting stream
            self._fault = error
        self._ready.clear()
        self._step_count += 1
        self._changed.notify_all()


class _LockstepStream(BlockStream):
    """The stream of one slot."""

    def __init__(self, batch: LockstepBatch[StateT], slot: int) -> None:
        super().__init__(batch.grid, batch.engine.block)
        self._batch, self._slot = batch, slot

    def _run(self, block: np.ndarray) -> list[ScoredFrames]:
        return [self._batch._run(self._slot, block[0])]

    def close(self) -> None:
        """Free the slot."""
        self._batch._release(self._slot)
        self._slot = -1
