"""A stream that runs the stages of a network in parallel, as a pipeline.

Each stage has a thread and its own state. While the recurrent head works on one block, the encoder
works on the next and the frontend on the one after that. The frames are those of an unstaged
stream, a few blocks later. Use it for files, where latency does not matter, on machines with
several cores.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Generic, TypeVar

import numpy as np

from streamdet.detection.engine import BlockStream
from streamdet.detection.frames import FrameGrid, ScoredFrames

StageStateT = TypeVar("StageStateT")


class StagedStream(BlockStream, Generic[StageStateT]):
    """``stages``: functions ``(state, x) -> (state, y)``, the first taking ``(1, block) float32``
    samples, each other one the y of the one before. ``states``: their initial states.
    ``to_frames``: converts the last stage's y. At most ``max_in_flight`` blocks wait for their
    result."""

    def __init__(
        self,
        grid: FrameGrid,
        block: int,
        stages: Sequence[Callable[[StageStateT, Any], tuple[StageStateT, Any]]],
        states: Sequence[StageStateT],
        to_frames: Callable[[Any], ScoredFrames],
        max_in_flight: int = 8,
    ) -> None:
        super().__init__(grid, block)
        self._stages, self._states, self._to_frames = stages, list(states), to_frames
        self._max_in_flight = max_in_flight
        self._workers = [ThreadPoolExecutor(1, f"streamdet-stage-{i}") for i in range(len(stages))]
        self._in_flight: deque[Future[Any]] = deque()

    def _run(self, block: np.ndarray) -> list[ScoredFrames]:
        task = self._workers[0].submit(self._advance, 0, block.copy())
        for i in range(1, len(self._stages)):
            task = self._workers[i].submit(self._advance_after, i, task)
        self._in_flight.append(task)
        done = []
        while len(self._in_flight) > self._max_in_flight:
            done.append(self._to_frames(self._in_flight.popleft().result()))
        return done

    def _drain(self) -> list[ScoredFrames]:
        done = [self._to_frames(task.result()) for task in self._in_flight]
        self._in_flight.clear()
        return done

    def close(self) -> None:
        """Stop the threads."""
        for worker in self._workers:
            worker.shutdown(wait=False, cancel_futures=True)

    def _advance_after(self, i: int, previous: Future[Any]) -> Any:
        return self._advance(i, previous.result())

    def _advance(self, i: int, x: Any) -> Any:
        self._states[i], y = self._stages[i](self._states[i], x)
        return y
