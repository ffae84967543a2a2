"""The engine by JAX: one compiled step, or its stages compiled apart for a `PipelinedStream`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from streamdet.detection import tagger_step
from streamdet.detection.analysis import POWER_TO_DB, RISE, BlockAnalysis, flux_db, mean_square
from streamdet.detection.engine import Engine, ScoreStream
from streamdet.detection.frames import ScoredFrames
from streamdet.detection.staged_stream import StagedStream
from streamdet.model import encoder, frontend, lstm, network, recurrent_head
from streamdet.model.bundle import Bundle
from streamdet.model.config import FrontendConfig, ModelConfig, Params
from streamdet.model.tagger_bundle import ServedTagger


class FrontendStageState(NamedTuple):
    """``before``: (streams, 2, bands) log-mel frames that flux compares with."""

    frontend: frontend.FrontendState
    before: jax.Array


class StageOutput(NamedTuple):
    """``x``: (streams, t, width) what the network makes of a block so far; ``flux`` and ``level``
    as in `Analysis`."""

    x: jax.Array
    flux: jax.Array
    level: jax.Array


def init(
    front: FrontendConfig, model: ModelConfig, streams: int
) -> tuple[FrontendStageState, encoder.EncoderState, tuple[lstm.LstmState, ...]]:
    """The state of ``streams`` streams that have heard nothing, a part for each stage."""
    silence = (np.log(front.floor) - front.mean) / front.scale
    before = jnp.full((streams, RISE, front.bands), silence, jnp.float32)
    state = network.init_state(model, streams)
    return FrontendStageState(frontend.init(front, streams), before), state.encoder, state.head


def frontend_stage(
    front: FrontendConfig,
    model: ModelConfig,
    params: Params,
    state: FrontendStageState,
    samples: jax.Array,
) -> tuple[FrontendStageState, StageOutput]:
    """The first stage: ``(streams, n) float32`` at the model's rate, n a multiple of
    hop * stride, to log-mel frames."""
    del params
    carried, frames = frontend.step(front, state.frontend, samples)
    history = jnp.concatenate([state.before, frames], axis=1)
    flux = flux_db(history, front.scale * POWER_TO_DB, model.stride)
    level = mean_square(samples, flux.shape[1])
    return FrontendStageState(carried, history[:, -RISE:]), StageOutput(frames, flux, level)


def encoder_stage(
    front: FrontendConfig,
    model: ModelConfig,
    params: Params,
    past: encoder.EncoderState,
    heard: StageOutput,
) -> tuple[encoder.EncoderState, StageOutput]:
    """The second stage: the network up to its LSTMs."""
    del front
    past, x = encoder.encode(model, params, past, heard.x)
    return past, heard._replace(x=x)


def head_stage(
    front: FrontendConfig,
    model: ModelConfig,
    params: Params,
    memory: tuple[lstm.LstmState, ...],
    heard: StageOutput,
) -> tuple[tuple[lstm.LstmState, ...], BlockAnalysis]:
    """The third stage: the LSTMs and the head."""
    del front
    memory, logits = recurrent_head.run_head(model, params, memory, heard.x)
    return memory, BlockAnalysis(jax.nn.sigmoid(logits), heard.flux, heard.level)


class NetworkStages(NamedTuple):
    """How a kind of network starts, and its stages: ``stage(front, model, params, state, x) ->
    (state, y)``, from samples to an `Analysis`."""

    init: Callable[[Any, Any, int], tuple[Any, ...]]
    stages: tuple[Callable[..., tuple[Any, Any]], ...]


DETECTOR = NetworkStages(init, (frontend_stage, encoder_stage, head_stage))
TAGGER = NetworkStages(lambda *of: (tagger_step.init(*of),), (tagger_step.step,))


@partial(jax.jit, static_argnums=(0, 1, 2))
def step(
    stages: tuple[Callable[..., tuple[Any, Any]], ...],
    front: Any,
    model: Any,
    params: Any,
    state: tuple[Any, ...],
    x: Any,
) -> tuple[tuple[Any, ...], Any]:
    """Some stages after each other, compiled as one."""
    after = []
    for stage, before in zip(stages, state, strict=True):
        carried, x = stage(front, model, params, before, x)
        after.append(carried)
    return tuple(after), x


@partial(jax.jit, static_argnums=(0, 1, 2))
def step_rows(
    stages: tuple[Callable[..., tuple[Any, Any]], ...],
    front: Any,
    model: Any,
    params: Any,
    states: tuple[Any, Any],
    x: Any,
    rows: tuple[jax.Array, jax.Array],
) -> tuple[Any, Any]:
    """`step` for the streams of the first mask of ``rows``, those of the second from the second
    of ``states``; the others are as they were."""
    (state, silent), (heard, fresh) = states, rows
    state = jax.tree.map(partial(_where, fresh), silent, state)
    after, y = step(stages, front, model, params, state, x)
    return jax.tree.map(partial(_where, heard), after, state), y


def _where(rows: jax.Array, one: jax.Array, other: jax.Array) -> jax.Array:
    return jnp.where(rows.reshape(-1, *[1] * (one.ndim - 1)), one, other)


class JaxEngine(Engine):
    """An engine by JAX; a ``pipelined`` one gives streams that keep several cores busy."""

    def __init__(
        self, bundle: Bundle, *, streams: int = 1, block_frames: int = 2, pipelined: bool = False
    ) -> None:
        super().__init__(bundle, streams=streams, block_frames=block_frames)
        self._params = jax.device_put(bundle.params)
        self._core = TAGGER if isinstance(bundle.model, ServedTagger) else DETECTOR
        self._pipelined = pipelined and len(self._core.stages) > 1
        self._silent: Any = None

    def initial_state(self) -> Any:
        """The state before the first sample, a part for each stage."""
        return self._core.init(self.bundle.frontend, self.bundle.model, self.streams)

    def step(self, state: Any, samples: np.ndarray) -> tuple[Any, list[ScoredFrames]]:
        """``(streams, block) float32`` -> the new state and the frames of each stream."""
        state, heard = self._compiled(self._core.stages, state, samples)
        return state, self._frames(heard)

    def step_rows(
        self, state: Any, samples: np.ndarray, rows: np.ndarray, fresh: np.ndarray
    ) -> tuple[Any, list[ScoredFrames]]:
        """A step of some streams alone: all are stepped, since one shape is compiled, and what
        the others would have become is left out."""
        if self._silent is None:
            self._silent = self.initial_state()
        padded = np.zeros((self.streams, self.block), np.float32)
        masks = np.zeros((2, self.streams), bool)
        padded[rows], masks[0, rows], masks[1, rows[fresh]] = samples, True, True
        front, model = self.bundle.frontend, self.bundle.model
        states, marked = (state, self._silent), (masks[0], masks[1])
        state, heard = step_rows(
            self._core.stages, front, model, self._params, states, padded, marked
        )
        scores, flux, level = (np.asarray(x) for x in heard)
        return state, [ScoredFrames(scores[i], flux[i], level[i]) for i in rows]

    def grow(self, state: Any, streams: int) -> Any:
        """The state with more streams that have heard nothing; the next step is compiled anew."""
        had, self.streams, self._silent = self.streams, streams, None
        return jax.tree.map(lambda fresh, now: fresh.at[:had].set(now), self.initial_state(), state)

    def stream(self) -> ScoreStream:
        """A stream that has heard nothing, through the stages where it is pipelined."""
        if not self._pipelined:
            return ScoreStream(self)
        *first, last = (partial(self._stage, stage) for stage in self._core.stages)
        return StagedStream(self, [*first, partial(self._last, last)])

    def _stage(self, stage: Callable[..., tuple[Any, Any]], state: Any, x: Any) -> tuple[Any, Any]:
        (state,), y = self._compiled((stage,), (state,), x)
        return state, jax.block_until_ready(y)

    def _last(self, stage: Callable[[Any, Any], tuple[Any, Any]], state: Any, x: Any) -> Any:
        state, heard = stage(state, x)
        return state, self._frames(heard)[0]

    def _compiled(self, stages: Any, state: Any, x: Any) -> tuple[Any, Any]:
        return step(stages, self.bundle.frontend, self.bundle.model, self._params, state, x)

    def _frames(self, heard: BlockAnalysis) -> list[ScoredFrames]:
        scores, flux, level = (np.asarray(x) for x in heard)
        return [ScoredFrames(scores[i], flux[i], level[i]) for i in range(self.streams)]
