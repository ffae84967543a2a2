"""Streams side by side in one engine: whoever has a block waits until all have, then one step is
made for all of them.

For accelerators, on which sixteen streams cost little more than one. Each stream is fed by a
thread of its own and is none the wiser; the frames are those that it would have alone.
"""

from __future__ import annotations

import threading
from typing import Any

import numpy as np

from streamdet.detection.engine import Engine, ScoreStream
from streamdet.detection.frames import ScoredFrames
from streamdet.detection.jax_engine import JaxEngine
from streamdet.model.bundle import Bundle


class LockstepEngine(Engine):
    """An engine with ``streams`` seats; `stream` takes one, and the stream's `close` leaves it."""

    shared = True

    def __init__(self, bundle: Bundle, *, streams: int, block_frames: int) -> None:
        super().__init__(bundle, streams=1, block_frames=block_frames)
        self._engine = JaxEngine(bundle, streams=streams, block_frames=block_frames)
        self._fresh, self._state = self._engine.initial_state(), self._engine.initial_state()
        self._samples = np.zeros((streams, self.block), np.float32)
        self._free, self._occupied = list(range(streams)), set[int]()
        self._ready, self._step_count = set[int](), 0
        self._frames: list[ScoredFrames] = []
        self._fault: BaseException | None = None
        self._changed = threading.Condition()

    def initial_state(self) -> Any:
        """The state of all seats before the first sample."""
        return self._fresh

    def step(self, state: Any, samples: np.ndarray) -> tuple[Any, list[ScoredFrames]]:
        """A step of all seats."""
        return self._engine.step(state, samples)

    def step_rows(
        self, state: Any, samples: np.ndarray, rows: np.ndarray, fresh: np.ndarray
    ) -> tuple[Any, list[ScoredFrames]]:
        """A step of some seats."""
        return self._engine.step_rows(state, samples, rows, fresh)

    def grow(self, state: Any, streams: int) -> Any:
        """The state with more seats."""
        return self._engine.grow(state, streams)

    def warm_up(self) -> None:
        """Compile now."""
        self._engine.warm_up()

    def stream(self) -> ScoreStream:
        """A stream that has heard nothing; waits until a seat is free."""
        return _LockstepStream(self)

    def _acquire_slot(self) -> int:
        import jax

        with self._changed:
            self._changed.wait_for(lambda: self._free)
            seat = self._free.pop()
            self._occupied.add(seat)
            self._state = jax.tree.map(
                lambda now, fresh: now.at[seat].set(fresh[seat]), self._state, self._fresh
            )
            return seat

    def _release_slot(self, seat: int) -> None:
        with self._changed:
            if seat in self._occupied:
                self._occupied.discard(seat)
                self._ready.discard(seat)
                self._free.append(seat)
                self._samples[seat] = 0.0
                self._step_if_all_are_ready()
                self._changed.notify_all()

    def _run(self, seat: int, block: np.ndarray) -> ScoredFrames:
        with self._changed:
            self._samples[seat] = block
            self._ready.add(seat)
            turn = self._step_count
            self._step_if_all_are_ready()
            self._changed.wait_for(lambda: self._step_count > turn)
            if self._fault is not None:
                raise self._fault
            return self._frames[seat]

    def _step_if_all_are_ready(self) -> None:
        if not self._ready or self._ready != self._occupied:
            return
        try:
            self._state, self._frames = self._engine.step(self._state, self._samples)
        except BaseException as error:  # noqa: BLE001 - every waiting stream is to hear of it
            self._fault = error
        self._ready.clear()
        self._step_count += 1
        self._changed.notify_all()


class _LockstepStream(ScoreStream):
    """One stream of an `Abreast`."""

    def __init__(self, engine: LockstepEngine) -> None:
        super().__init__(engine)
        self._lockstep, self._slot = engine, engine._acquire_slot()

    def _run(self, block: np.ndarray) -> list[ScoredFrames]:
        return [self._lockstep._run(self._slot, block[0])]

    def close(self) -> None:
        """Leave the seat to another stream."""
        self._lockstep._release_slot(self._slot)
        self._slot = -1
