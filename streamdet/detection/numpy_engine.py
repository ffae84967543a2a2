"""The numpy engine: starts at once and needs little memory, for live sources and short files."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, TypeVar, cast

import numpy as np

from streamdet.detection.analysis import FLUX_LAG, POWER_TO_DB, flux_db, mean_square
from streamdet.detection.engine import Engine, EngineStream, ScoreStream
from streamdet.detection.frames import ScoredFrames
from streamdet.model import numpy_network
from streamdet.model.bundle import Bundle
from streamdet.model.config import FrontendConfig, ModelConfig
from streamdet.model.numpy_network import NumpyState

NetworkStep = Callable[[NumpyState, np.ndarray], tuple[NumpyState, np.ndarray]]
"""Log-mel frames ``(streams, f, bands)`` to logits, with the state before and after them."""
MAX_STEP_S = 1.28
"""The longest step. The allocator returns larger arrays to the system after every step."""


class NumpyEngineState(NamedTuple):
    """``network``: the state of all three stages. ``flux_history``: (streams, 2, bands) float32,
    the last log-mel frames, which the flux of the next block compares with."""

    network: numpy_network.NumpyState
    flux_history: np.ndarray


class FrontendOutput(NamedTuple):
    """``frames``: (streams, f, bands) log-mel; ``flux`` and ``level`` as in `BlockAnalysis`. All
    are float32."""

    frames: np.ndarray
    flux: np.ndarray
    level: np.ndarray


class NumpyEngine(Engine[NumpyEngineState]):
    """Runs a detector with numpy. Raises ValueError for a tagger, which needs JAX."""

    def __init__(self, bundle: Bundle, *, streams: int = 1, block_frames: int = 2) -> None:
        super().__init__(bundle, streams=streams, block_frames=block_frames)
        front, model = bundle.frontend, bundle.model
        if not isinstance(front, FrontendConfig) or not isinstance(model, ModelConfig):
            raise ValueError(f"{bundle.name} is a tagger; it needs JAX")
        self._front, self._model = front, model
        self._run_network = self._prepare_network()
        self._initial_row = self._initial(1)

    def _prepare_network(self) -> NetworkStep:
        weights = numpy_network.prepare_weights(self._front, self._model, self.bundle.params)
        return partial(numpy_network.run_network, weights)

    def initial_state(self) -> NumpyEngineState:
        """The state of all streams before the first sample."""
        return self._initial(self.streams)

    def step(
        self, state: NumpyEngineState, samples: np.ndarray
    ) -> tuple[NumpyEngineState, list[ScoredFrames]]:
        """Analyse ``(streams, n) float32`` samples, n any multiple of a frame."""
        return self.run_network(*self.run_frontend(state, samples))

    def run_frontend(
        self, state: NumpyEngineState, samples: np.ndarray
    ) -> tuple[NumpyEngineState, FrontendOutput]:
        """The first half of a step: samples to log-mel frames."""
        front, network = self._front, state.network
        tail, frames = numpy_network.log_mel(front, network.tail, samples)
        history = np.concatenate([state.flux_history, frames], axis=1)
        flux = flux_db(history, front.scale * POWER_TO_DB, self._model.stride)
        level = mean_square(samples, flux.shape[1])
        state = NumpyEngineState(network._replace(tail=tail), history[:, -FLUX_LAG:])
        return state, FrontendOutput(frames, flux, level)

    def run_network(
        self, state: NumpyEngineState, block: FrontendOutput
    ) -> tuple[NumpyEngineState, list[ScoredFrames]]:
        """The second half of a step: log-mel frames to scored frames."""
        network, logits = self._run_network(state.network, block.frames)
        scores = 0.5 * (1.0 + np.tanh(0.5 * logits))
        log_mel = block.frames.reshape(*block.flux.shape, -1)
        rows = zip(scores, block.flux, block.level, log_mel, strict=True)
        return state._replace(network=network), [ScoredFrames(*row) for row in rows]

    def step_rows(
        self, state: NumpyEngineState, samples: np.ndarray, rows: np.ndarray, fresh: np.ndarray
    ) -> tuple[NumpyEngineState, list[ScoredFrames]]:
        """Analyse one block of some of the streams. Overwrites the arrays of ``state``."""
        restarted = rows[fresh]
        _map_arrays(
            lambda old, first: _assign_rows(old, restarted, first), state, self._initial_row
        )
        stepped, frames = self.step(_map_arrays(lambda old: old[rows], state), samples)
        _map_arrays(lambda old, new: _assign_rows(old, rows, new), state, stepped)
        return state, frames

    def grow(self, state: NumpyEngineState, streams: int) -> NumpyEngineState:
        """Increase the number of streams; returns the state with the new streams at the end."""
        added, self.streams = streams - self.streams, streams
        return _map_arrays(
            lambda old, first: np.concatenate([old, np.repeat(first, added, axis=0)]),
            state,
            self._initial_row,
        )

    def stream(self) -> ScoreStream:
        """Open a stream in its initial state. Raises ValueError if the engine has several."""
        return _NumpyStream(self)

    def _initial(self, streams: int) -> NumpyEngineState:
        front = self._front
        silence = (np.log(front.floor) - front.mean) / front.scale
        history = np.full((streams, FLUX_LAG, front.bands), silence, np.float32)
        return NumpyEngineState(numpy_network.init(front, self._model, streams), history)


TreeT = TypeVar("TreeT", bound=tuple[Any, ...] | np.ndarray)
"""An array, or nested tuples of arrays."""


def _map_arrays(function: Callable[..., np.ndarray], *trees: TreeT) -> TreeT:
    """Apply a function to the corresponding arrays of trees of one structure."""
    first: Any = trees[0]
    if isinstance(first, np.ndarray):
        return cast("TreeT", function(*trees))
    parts = [_map_arrays(function, *same) for same in zip(*trees, strict=True)]
    return cast("TreeT", type(first)(*parts) if hasattr(first, "_fields") else tuple(parts))


def _assign_rows(array: np.ndarray, rows: np.ndarray, new: np.ndarray) -> np.ndarray:
    array[rows] = new
    return array


class _NumpyStream(EngineStream[NumpyEngineState]):
    """Analyses all blocks that a chunk completes in one step, since no shape is compiled."""

    def feed(self, samples: np.ndarray) -> list[ScoredFrames]:
        """Add ``(n,) float32`` samples; returns the frames of the blocks that they complete."""
        block, frames = self._block, []
        samples = np.concatenate([self._pending[: self._buffered], samples])
        whole = len(samples) // block * block
        longest = max(1, round(MAX_STEP_S * self._grid.rate / block)) * block
        for at in range(0, whole, longest):
            frames += self._run(samples[None, at : min(at + longest, whole)])
        self._buffered = len(samples) - whole
        self._pending[: self._buffered] = samples[whole:]
        return frames
