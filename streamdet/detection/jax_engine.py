"""The JAX engine: one compiled step, or the three stages compiled apart for a `StagedStream`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from streamdet.detection import tagger_step
from streamdet.detection.analysis import FLUX_LAG, POWER_TO_DB, BlockAnalysis, flux_db, mean_square
from streamdet.detection.engine import Engine, EngineStream, ScoreStream
from streamdet.detection.frames import ScoredFrames
from streamdet.detection.staged_stream import StagedStream
from streamdet.detection.tagger_step import TaggerStreamState
from streamdet.model import encoder, frontend, network, recurrent_head
from streamdet.model.bundle import Bundle
from streamdet.model.config import FrontendConfig, ModelConfig, Params, VggishConfig
from streamdet.model.encoder import EncoderState
from streamdet.model.lstm import LstmState
from streamdet.model.tagger_bundle import ServedTagger


class FrontendStageState(NamedTuple):
    """``flux_history``: (streams, 2, bands) float32, the last log-mel frames, which the flux of
    the next block compares with."""

    frontend: frontend.FrontendState
    flux_history: jax.Array


class StageOutput(NamedTuple):
    """``x``: (streams, t, width) float32, log-mel frames or the encoder's features; ``flux``,
    ``level`` and ``log_mel`` as in `BlockAnalysis`."""

    x: jax.Array
    flux: jax.Array
    level: jax.Array
    log_mel: jax.Array


FrontConfig = FrontendConfig | VggishConfig
NetworkConfig = ModelConfig | ServedTagger
StageState = FrontendStageState | EncoderState | tuple[LstmState, ...] | TaggerStreamState
StageValue = np.ndarray | jax.Array | StageOutput | BlockAnalysis
"""Samples, what one stage passes to the next, or the last stage's result."""
Stage = Callable[..., tuple[StageState, StageValue]]
"""``stage(front, model, params, state, x) -> (state, y)``, pure. ``state`` and ``x`` are of the
stage's own types."""
JaxEngineState = tuple[StageState, ...]
"""The state of each stage, in order."""


def init(
    front: FrontendConfig, model: ModelConfig, streams: int
) -> tuple[FrontendStageState, EncoderState, tuple[LstmState, ...]]:
    """The state of each stage before the first sample."""
    silence = (np.log(front.floor) - front.mean) / front.scale
    history = jnp.full((streams, FLUX_LAG, front.bands), silence, jnp.float32)
    state = network.init_state(model, streams)
    return FrontendStageState(frontend.init(front, streams), history), state.encoder, state.head


def frontend_stage(
    front: FrontendConfig,
    model: ModelConfig,
    params: Params,
    state: FrontendStageState,
    samples: jax.Array,
) -> tuple[FrontendStageState, StageOutput]:
    """The first stage: (streams, n) float32 samples at the model's rate, n a multiple of
    hop * stride, to log-mel frames."""
    del params
    carried, frames = frontend.step(front, state.frontend, samples)
    history = jnp.concatenate([state.flux_history, frames], axis=1)
    flux = flux_db(history, front.scale * POWER_TO_DB, model.stride)
    level = mean_square(samples, flux.shape[1])
    log_mel = frames.reshape(*flux.shape, front.bands)
    output = StageOutput(frames, flux, level, log_mel)
    return FrontendStageState(carried, history[:, -FLUX_LAG:]), output


def encoder_stage(
    front: FrontendConfig,
    model: ModelConfig,
    params: Params,
    state: EncoderState,
    frames: StageOutput,
) -> tuple[EncoderState, StageOutput]:
    """The second stage: log-mel frames to features."""
    del front
    state, features = encoder.encode(model, params, state, frames.x)
    return state, frames._replace(x=features)


def recurrent_head_stage(
    front: FrontendConfig,
    model: ModelConfig,
    params: Params,
    state: tuple[LstmState, ...],
    features: StageOutput,
) -> tuple[tuple[LstmState, ...], BlockAnalysis]:
    """The third stage: features to scores."""
    del front
    state, logits = recurrent_head.run_head(model, params, state, features.x)
    return state, BlockAnalysis(jax.nn.sigmoid(logits), *features[1:])


class NetworkStages(NamedTuple):
    """A kind of network: ``init(front, model, streams)`` gives the initial state of each stage;
    the stages lead from samples to a `BlockAnalysis`."""

    init: Callable[..., JaxEngineState]
    stages: tuple[Stage, ...]


DETECTOR = NetworkStages(init, (frontend_stage, encoder_stage, recurrent_head_stage))
TAGGER = NetworkStages(lambda *args: (tagger_step.init(*args),), (tagger_step.step,))


@partial(jax.jit, static_argnums=(0, 1, 2))
def step(
    stages: tuple[Stage, ...],
    front: FrontConfig,
    model: NetworkConfig,
    params: Params,
    state: JaxEngineState,
    x: StageValue,
) -> tuple[JaxEngineState, StageValue]:
    """Run stages one after another, compiled as one function."""
    carried = []
    for stage, stage_state in zip(stages, state, strict=True):
        stage_state, x = stage(front, model, params, stage_state, x)
        carried.append(stage_state)
    return tuple(carried), x


@partial(jax.jit, static_argnums=(0, 1, 2))
def step_rows(
    stages: tuple[Stage, ...],
    front: FrontConfig,
    model: NetworkConfig,
    params: Params,
    states: tuple[JaxEngineState, JaxEngineState],
    x: StageValue,
    masks: tuple[jax.Array, jax.Array],
) -> tuple[JaxEngineState, StageValue]:
    """Like `step`, for some of the streams.

    ``states``: the current and the initial state. ``masks``: two of (streams,) bool, the streams
    to advance and those of them that restart from the initial state.
    """
    (state, initial), (active, fresh) = states, masks
    state = jax.tree.map(partial(_where, fresh), initial, state)
    stepped, y = step(stages, front, model, params, state, x)
    return jax.tree.map(partial(_where, active), stepped, state), y


def _where(mask: jax.Array, one: jax.Array, other: jax.Array) -> jax.Array:
    return jnp.where(mask.reshape(-1, *[1] * (one.ndim - 1)), one, other)


class JaxEngine(Engine[JaxEngineState]):
    """Runs a detector or a tagger with JAX.

    ``platform``: "cpu", "gpu" or "tpu", whose first device is used; JAX's default device if None.
    A ``pipelined`` engine opens streams that run the stages in parallel threads. Raises
    RuntimeError if the platform is not available.
    """

    def __init__(
        self,
        bundle: Bundle,
        *,
        streams: int = 1,
        block_frames: int = 2,
        pipelined: bool = False,
        platform: str | None = None,
    ) -> None:
        super().__init__(bundle, streams=streams, block_frames=block_frames)
        self._device = None if platform is None else jax.devices(platform)[0]
        self._params: Params = jax.device_put(bundle.params, self._device)
        self._network = TAGGER if isinstance(bundle.model, ServedTagger) else DETECTOR
        self._pipelined = pipelined and len(self._network.stages) > 1
        self._initial: JaxEngineState | None = None

    def initial_state(self) -> JaxEngineState:
        """The state of each stage before the first sample, on the engine's device."""
        with jax.default_device(self._device):
            state = self._network.init(self.bundle.frontend, self.bundle.model, self.streams)
        return jax.device_put(state, self._device)

    def step(
        self, state: JaxEngineState, samples: np.ndarray
    ) -> tuple[JaxEngineState, list[ScoredFrames]]:
        """Analyse one block of every stream: ``(streams, block) float32``."""
        state, analysis = self._run(self._network.stages, state, samples)
        return state, _scored_frames(analysis, range(self.streams))

    def step_rows(
        self, state: JaxEngineState, samples: np.ndarray, rows: np.ndarray, fresh: np.ndarray
    ) -> tuple[JaxEngineState, list[ScoredFrames]]:
        """Analyse one block of some of the streams.

        Computes all streams, since only one shape is compiled, and drops the rest.
        """
        if self._initial is None:
            self._initial = self.initial_state()
        padded = np.zeros((self.streams, self.block), np.float32)
        masks = np.zeros((2, self.streams), bool)
        padded[rows], masks[0, rows], masks[1, rows[fresh]] = samples, True, True
        state, analysis = step_rows(
            self._network.stages, self.bundle.frontend, self.bundle.model, self._params,
            (state, self._initial), padded, (masks[0], masks[1]),
        )  # fmt: skip
        return state, _scored_frames(analysis, rows)

    def grow(self, state: JaxEngineState, streams: int) -> JaxEngineState:
        """Increase the number of streams; the next step is compiled for it."""
        count, self.streams, self._initial = self.streams, streams, None
        larger = self.initial_state()
        return jax.tree.map(lambda new, old: new.at[:count].set(old), larger, state)

    def stream(self) -> ScoreStream:
        """Open a stream in its initial state. Raises ValueError if the engine has several."""
        if not self._pipelined:
            return EngineStream(self)
        stages = [partial(self._run_stage, stage) for stage in self._network.stages]
        return StagedStream(
            self.grid, self.block, stages, self.initial_state(),
            lambda analysis: _scored_frames(analysis, range(1))[0],
        )  # fmt: skip

    def _run_stage(
        self, stage: Stage, state: StageState, x: StageValue
    ) -> tuple[StageState, StageValue]:
        (state,), y = self._run((stage,), (state,), x)
        return state, jax.block_until_ready(y)

    def _run(
        self, stages: tuple[Stage, ...], state: JaxEngineState, x: StageValue
    ) -> tuple[JaxEngineState, StageValue]:
        return step(stages, self.bundle.frontend, self.bundle.model, self._params, state, x)


def _scored_frames(analysis: StageValue, rows: range | np.ndarray) -> list[ScoredFrames]:
    columns = [np.asarray(x) for x in analysis]
    return [ScoredFrames(*(x[i] for x in columns)) for i in rows]
