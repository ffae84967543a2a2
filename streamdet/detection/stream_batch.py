"""Live streams side by side in one engine: one step for all that have a block, whoever they are.

A stream takes a seat and leaves it without touching the others, and its frames are those that it
would have alone. All of it belongs to one thread.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from streamdet.detection.engine import Engine, ScoreStream
from streamdet.detection.frames import FrameGrid, ScoredFrames


class StreamBatch:
    """The seats of an engine; more are made when all are taken."""

    shared = False

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._state: Any = engine.initial_state()
        self._free = list(range(engine.streams))[::-1]
        self._slots: dict[int, BatchSlot] = {}

    @property
    def grid(self) -> FrameGrid:
        """How frames lie on samples."""
        return self.engine.grid

    def warm_up(self) -> None:
        """Do once what the first step would do alone, so that no audio has to wait for it."""
        nothing = np.zeros((1, self.engine.block), np.float32)
        self.engine.step_rows(self.engine.initial_state(), nothing, np.array([0]), np.array([True]))

    def stream(self) -> BatchSlot:
        """A stream that has heard nothing."""
        if not self._free:
            had = self.engine.streams
            self._state = self.engine.grow(self._state, 2 * had)
            self._free = list(range(had, 2 * had))[::-1]
        row = self._free.pop()
        self._slots[row] = BatchSlot(self, row)
        return self._slots[row]

    def step(self) -> int:
        """Step the streams that have a whole block, one block each; returns how many had one."""
        block = self.engine.block
        ready = [seat for seat in self._slots.values() if len(seat.pending) >= block]
        if ready:
            self._run(ready)
        return len(ready)

    def _run(self, seats: list[BatchSlot]) -> None:
        block = self.engine.block
        samples = np.stack([seat.pending[:block] for seat in seats])
        rows = np.array([seat.row for seat in seats])
        fresh = np.array([seat.fresh for seat in seats])
        self._state, frames = self.engine.step_rows(self._state, samples, rows, fresh)
        for seat, heard in zip(seats, frames, strict=True):
            seat.pending, seat.fresh = seat.pending[block:], False
            seat.scored.append(heard)

    def _release(self, row: int) -> None:
        del self._slots[row]
        self._free.append(row)


class BatchSlot(ScoreStream):
    """One stream of a `Batch`: `feed` only puts samples down, `poll` gives what steps made."""

    def __init__(self, batch: StreamBatch, row: int) -> None:
        self.engine, self.row, self.fresh = batch.engine, row, True
        self.pending = np.zeros(0, np.float32)
        self.scored: list[ScoredFrames] = []
        self._batch: StreamBatch | None = batch

    @property
    def samples_needed(self) -> int:
        """Samples that complete the next block, once those are stepped that are complete."""
        return self.engine.block - len(self.pending) % self.engine.block

    def feed(self, samples: np.ndarray) -> list[ScoredFrames]:
        """``(n,) float32`` samples, for the steps to come."""
        if len(samples):
            self.pending = np.concatenate([self.pending, samples])
        return self.poll()

    def poll(self) -> list[ScoredFrames]:
        """The frames made since it was asked last."""
        heard, self.scored = self.scored, []
        return heard

    def finish(self) -> list[ScoredFrames]:
        """The frames of what is left, the last one filled up with silence; it alone is stepped."""
        block, batch = self.engine.block, self._batch
        count = -(-len(self.pending) // self.engine.grid.frame)
        short = -len(self.pending) % block
        self.pending = np.concatenate([self.pending, np.zeros(short, np.float32)])
        done = self.poll()
        while batch is not None and len(self.pending):
            batch._run([self])
            (frames,) = self.poll()
            done.append(ScoredFrames(*(x[:count] for x in frames)))
            count -= len(frames.scores)
        return done

    def close(self) -> None:
        """Leave the seat to another stream."""
        if self._batch is not None:
            self._batch._release(self.row)
            self._batch = None
