"""The engine by numpy alone: a detector without JAX's memory and start."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from streamdet.detection.analysis import POWER_TO_DB, RISE, flux_db, mean_square
from streamdet.detection.engine import Engine, ScoreStream
from streamdet.detection.frames import ScoredFrames
from streamdet.model import numpy_network
from streamdet.model.bundle import Bundle
from streamdet.model.config import FrontendConfig, ModelConfig

MAX_STEP_S = 1.28
"""The most sound of one step: arrays of more are given back to the system each time."""


class NumpyEngineState(NamedTuple):
    """``before``: (streams, 2, bands) log-mel frames that flux compares with."""

    network: numpy_network.NumpyState
    before: np.ndarray


class NumpyEngine(Engine):
    """An engine by numpy, for detectors; raises ValueError for a tagger, which is too large."""

    def __init__(self, bundle: Bundle, *, streams: int = 1, block_frames: int = 2) -> None:
        super().__init__(bundle, streams=streams, block_frames=block_frames)
        front, model = bundle.frontend, bundle.model
        if not isinstance(front, FrontendConfig) or not isinstance(model, ModelConfig):
            raise ValueError(f"{bundle.name} is a tagger; it needs JAX")
        self._front, self._model = front, model
        self._weights = numpy_network.prepare_weights(front, model, bundle.params)
        self._silent = self._initial(1)

    def initial_state(self) -> Any:
        """The state before the first sample."""
        return self._initial(self.streams)

    def step(self, state: Any, samples: np.ndarray) -> tuple[Any, list[ScoredFrames]]:
        """``(streams, n) float32``, n any number of frames -> the new state and the frames of each
        stream."""
        network, frames, logits = numpy_network.step(self._weights, state.network, samples)
        history = np.concatenate([state.before, frames], axis=1)
        flux = flux_db(history, self._front.scale * POWER_TO_DB, self._model.stride)
        level = mean_square(samples, flux.shape[1])
        scores = 0.5 * (1.0 + np.tanh(0.5 * logits))
        state = NumpyEngineState(network, history[:, -RISE:])
        return state, [ScoredFrames(scores[i], flux[i], level[i]) for i in range(len(samples))]

    def step_rows(
        self, state: Any, samples: np.ndarray, rows: np.ndarray, fresh: np.ndarray
    ) -> tuple[Any, list[ScoredFrames]]:
        """A step of some streams alone; the state's arrays are written over."""
        silent, begins = self._silent, rows[fresh]
        _map_arrays(lambda now, first: _assign_rows(now, begins, first), state, silent)
        after, frames = self.step(_map_arrays(lambda now: now[rows], state), samples)
        _map_arrays(lambda now, new: _assign_rows(now, rows, new), state, after)
        return state, frames

    def grow(self, state: Any, streams: int) -> Any:
        """The state with more streams that have heard nothing."""
        more, self.streams = streams - self.streams, streams
        return _map_arrays(
            lambda now, first: np.concatenate([now, np.repeat(first, more, axis=0)]),
            state,
            self._silent,
        )

    def stream(self) -> ScoreStream:
        """A stream that has heard nothing; raises ValueError for an engine of several."""
        return _NumpyStream(self)

    def _initial(self, streams: int) -> NumpyEngineState:
        front = self._front
        silence = (np.log(front.floor) - front.mean) / front.scale
        before = np.full((streams, RISE, front.bands), silence, np.float32)
        return NumpyEngineState(numpy_network.init(front, self._model, streams), before)


def _map_arrays(change: Callable[..., Any], *states: Any) -> Any:
    """What ``change`` makes of each array of states of one form, in that form."""
    first = states[0]
    if isinstance(first, np.ndarray):
        return change(*states)
    parts = [_map_arrays(change, *same) for same in zip(*states, strict=True)]
    return type(first)(*parts) if hasattr(first, "_fields") else tuple(parts)


def _assign_rows(array: np.ndarray, rows: np.ndarray, new: np.ndarray) -> np.ndarray:
    array[rows] = new
    return array


class _NumpyStream(ScoreStream):
    """Nothing is compiled, so the blocks that a chunk completes are one step."""

    def feed(self, samples: np.ndarray) -> list[ScoredFrames]:
        """``(n,) float32`` samples; the frames of every block that they complete."""
        block, frames = self.engine.block, []
        heard = np.concatenate([self._pending[: self._held], samples])
        whole = len(heard) // block * block
        most = max(1, round(MAX_STEP_S * self.engine.grid.rate / block)) * block
        for at in range(0, whole, most):
            frames += self._run(heard[None, at : min(at + most, whole)])
        self._held = len(heard) - whole
        self._pending[: self._held] = heard[whole:]
        return frames
