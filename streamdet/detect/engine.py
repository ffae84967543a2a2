"""The jitted step over a batch of streams: samples in, frames of scores out.

`Engine` holds the compiled step and its state, nothing else: no clock and no file. A block
is a whole number of frames; `Stream` cuts samples of any chunking into blocks.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from streamdet.detect import tagging
from streamdet.detect.analysis import RISE, Analysis, flux_db
from streamdet.detect.decision import Frames, Grid
from streamdet.model import frontend, lstm
from streamdet.model.bundle import Bundle
from streamdet.model.frontend import FrontendConfig
from streamdet.model.lstm import ModelConfig
from streamdet.model.tagger_bundle import ServedTagger

_TO_DB = 10.0 / float(np.log(10.0))


class EngineState(NamedTuple):
    """``before``: (streams, 2, bands) log-mel frames that flux compares with."""

    frontend: frontend.FrontendState
    model: lstm.ModelState
    before: jax.Array


def init(front: FrontendConfig, model: ModelConfig, streams: int) -> EngineState:
    """The state of ``streams`` streams that have heard nothing but silence."""
    silence = (np.log(front.floor) - front.mean) / front.scale
    before = jnp.full((streams, RISE, front.bands), silence, jnp.float32)
    return EngineState(frontend.init(front, streams), lstm.init_state(model, streams), before)


@partial(jax.jit, static_argnums=(0, 1))
def step(
    front: FrontendConfig,
    model: ModelConfig,
    params: lstm.Params,
    state: EngineState,
    samples: jax.Array,
) -> tuple[EngineState, Analysis]:
    """``(streams, n) float32`` at the model's rate, n a multiple of hop * stride."""
    heard, frames = frontend.step(front, state.frontend, samples)
    carried, logits = lstm.step(model, params, state.model, frames)
    history = jnp.concatenate([state.before, frames], axis=1)
    flux = flux_db(history, front.scale * _TO_DB, model.stride)
    level = jnp.mean(samples.reshape(*flux.shape[:2], -1) ** 2, axis=2)
    state = EngineState(heard, carried, history[:, -RISE:])
    return state, Analysis(jax.nn.sigmoid(logits), flux, level)


class Engine:
    """A bundle compiled for blocks of ``block_frames`` frames of ``streams`` streams."""

    def __init__(self, bundle: Bundle, *, streams: int = 1, block_frames: int = 2) -> None:
        self.bundle, self.streams = bundle, streams
        front, model = bundle.frontend, bundle.model
        self.grid = Grid(front.sample_rate, front.hop, model.stride, model.labels)
        self.block = block_frames * self.grid.frame
        self._params = jax.device_put(bundle.params)
        core: Any = (
            (tagging.init, tagging.step) if isinstance(model, ServedTagger) else (init, step)
        )
        self._init, self._step = core

    def start(self) -> Any:
        """The state before the first sample."""
        return self._init(self.bundle.frontend, self.bundle.model, self.streams)

    def warm_up(self) -> None:
        """Compile now, so that no audio has to wait for it."""
        self.step(self.start(), np.zeros((self.streams, self.block), np.float32))

    def step(self, state: Any, samples: np.ndarray) -> tuple[Any, list[Frames]]:
        """``(streams, block) float32`` -> the new state and the frames of each stream."""
        front, model = self.bundle.frontend, self.bundle.model
        state, heard = self._step(front, model, self._params, state, samples)
        scores, flux, level = (np.asarray(x) for x in heard)
        return state, [Frames(scores[i], flux[i], level[i]) for i in range(self.streams)]


def block_frames(bundle: Bundle, seconds: float) -> int:
    """The frames of a block of about so many seconds, one at least."""
    frame = bundle.frontend.hop * bundle.model.stride
    return max(1, round(seconds * bundle.frontend.sample_rate / frame))


class Stream:
    """One stream over an engine of one: `feed` takes chunks of any length."""

    def __init__(self, engine: Engine) -> None:
        if engine.streams != 1:
            raise ValueError(f"a Stream wants an engine of one stream, not {engine.streams}")
        self.engine = engine
        self._state = engine.start()
        self._pending = np.zeros(engine.block, np.float32)
        self._held = 0

    def feed(self, samples: np.ndarray) -> list[Frames]:
        """``(n,) float32`` samples; the frames of every block that they complete."""
        frames = []
        while len(samples):
            taken = samples[: self.engine.block - self._held]
            self._pending[self._held : self._held + len(taken)] = taken
            self._held += len(taken)
            samples = samples[len(taken) :]
            if self._held == self.engine.block:
                frames.append(self._run())
        return frames

    def finish(self) -> list[Frames]:
        """The frames of what is left, the last one filled up with silence."""
        if not self._held:
            return []
        count = -(-self._held // self.engine.grid.frame)
        self._pending[self._held :] = 0.0
        last = self._run()
        return [Frames(*(x[:count] for x in last))]

    def _run(self) -> Frames:
        self._state, (frames,) = self.engine.step(self._state, self._pending[None])
        self._held = 0
        return frames
