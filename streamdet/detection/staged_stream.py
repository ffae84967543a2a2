"""A stream whose blocks go through an engine's stages like through an assembly line.

Each stage has a thread and the state of its own, so while one block is remembered the next is
heard and the one behind it is listened to. The frames are those of a plain `Stream`, a few blocks
later: for files, which nobody waits for, on machines with more than one core.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np

from streamdet.detection.engine import Engine, ScoreStream
from streamdet.detection.frames import ScoredFrames

Stage = Callable[[Any, Any], tuple[Any, Any]]
"""``(state, x) -> (state, y)``; the first one's x are ``(1, block) float32`` samples, the last
one's y are Frames."""


class StagedStream(ScoreStream):
    """A `Stream` through stages, ``ahead`` blocks on their way at most."""

    def __init__(self, engine: Engine, stages: Sequence[Stage], max_in_flight: int = 8) -> None:
        super().__init__(engine)
        self._stages, self._states = stages, list(self._state)
        self._ahead = max_in_flight
        self._workers = [ThreadPoolExecutor(1, f"streamdet-stage-{i}") for i in range(len(stages))]
        self._in_flight: deque[Future[Any]] = deque()

    def _run(self, block: np.ndarray) -> list[ScoredFrames]:
        task = self._workers[0].submit(self._advance, 0, block.copy())
        for i in range(1, len(self._stages)):
            task = self._workers[i].submit(self._advance_after, i, task)
        self._in_flight.append(task)
        done = []
        while len(self._in_flight) > self._ahead:
            done.append(self._in_flight.popleft().result())
        return done

    def _drain(self) -> list[ScoredFrames]:
        done = [task.result() for task in self._in_flight]
        self._in_flight.clear()
        return done

    def close(self) -> None:
        """End its threads."""
        for worker in self._workers:
            worker.shutdown(wait=False, cancel_futures=True)

    def _advance_after(self, i: int, before: Future[Any]) -> Any:
        return self._advance(i, before.result())

    def _advance(self, i: int, x: Any) -> Any:
        self._states[i], y = self._stages[i](self._states[i], x)
        return y
