"""Streams side by side in one engine: whoever has a block waits until all have, then one step is
made for all of them.

For accelerators, on which sixteen streams cost little more than one. Each stream is fed by a
thread of its own and is none the wiser; the frames are those that it would have alone.
"""

from __future__ import annotations

import threading
from typing import Any

import numpy as np

from streamdet.detection.decision import Frames
from streamdet.detection.engine import Engine, Stream
from streamdet.detection.jax_engine import CompiledEngine
from streamdet.model.bundle import Bundle


class Abreast(Engine):
    """An engine with ``streams`` seats; `stream` takes one, and the stream's `close` leaves it."""

    shared = True

    def __init__(self, bundle: Bundle, *, streams: int, block_frames: int) -> None:
        super().__init__(bundle, streams=1, block_frames=block_frames)
        self._engine = CompiledEngine(bundle, streams=streams, block_frames=block_frames)
        self._fresh, self._state = self._engine.start(), self._engine.start()
        self._samples = np.zeros((streams, self.block), np.float32)
        self._free, self._taken = list(range(streams)), set[int]()
        self._ready, self._round = set[int](), 0
        self._frames: list[Frames] = []
        self._fault: BaseException | None = None
        self._changed = threading.Condition()

    def start(self) -> Any:
        """The state of all seats before the first sample."""
        return self._fresh

    def step(self, state: Any, samples: np.ndarray) -> tuple[Any, list[Frames]]:
        """A step of all seats."""
        return self._engine.step(state, samples)

    def step_rows(
        self, state: Any, samples: np.ndarray, rows: np.ndarray, fresh: np.ndarray
    ) -> tuple[Any, list[Frames]]:
        """A step of some seats."""
        return self._engine.step_rows(state, samples, rows, fresh)

    def widened(self, state: Any, streams: int) -> Any:
        """The state with more seats."""
        return self._engine.widened(state, streams)

    def warm_up(self) -> None:
        """Compile now."""
        self._engine.warm_up()

    def stream(self) -> Stream:
        """A stream that has heard nothing; waits until a seat is free."""
        return _Seat(self)

    def _take(self) -> int:
        import jax

        with self._changed:
            self._changed.wait_for(lambda: self._free)
            seat = self._free.pop()
            self._taken.add(seat)
            self._state = jax.tree.map(
                lambda now, fresh: now.at[seat].set(fresh[seat]), self._state, self._fresh
            )
            return seat

    def _leave(self, seat: int) -> None:
        with self._changed:
            if seat in self._taken:
                self._taken.discard(seat)
                self._ready.discard(seat)
                self._free.append(seat)
                self._samples[seat] = 0.0
                self._step_if_all_are_ready()
                self._changed.notify_all()

    def _run(self, seat: int, block: np.ndarray) -> Frames:
        with self._changed:
            self._samples[seat] = block
            self._ready.add(seat)
            turn = self._round
            self._step_if_all_are_ready()
            self._changed.wait_for(lambda: self._round > turn)
            if self._fault is not None:
                raise self._fault
            return self._frames[seat]

    def _step_if_all_are_ready(self) -> None:
        if not self._ready or self._ready != self._taken:
            return
        try:
            self._state, self._frames = self._engine.step(self._state, self._samples)
        except BaseException as error:  # noqa: BLE001 - every waiting stream is to hear of it
            self._fault = error
        self._ready.clear()
        self._round += 1
        self._changed.notify_all()


class _Seat(Stream):
    """One stream of an `Abreast`."""

    def __init__(self, engine: Abreast) -> None:
        super().__init__(engine)
        self._abreast, self._seat = engine, engine._take()

    def _run(self, block: np.ndarray) -> list[Frames]:
        return [self._abreast._run(self._seat, block[0])]

    def close(self) -> None:
        """Leave the seat to another stream."""
        self._abreast._leave(self._seat)
        self._seat = -1
