"""The step of a tagger over streams: samples to VGGish's embeddings to frames of scores.

A frame of 0.96 s has the scores of the last ``window`` embeddings, so a sound is heard as long as
it lies in them; flux and level are as the detectors have them, for the onset.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from streamdet.detection.analysis import POWER_TO_DB, RISE, BlockAnalysis, flux_db, mean_square
from streamdet.model import tagger, vggish
from streamdet.model.config import Params, VggishConfig
from streamdet.model.tagger_bundle import ServedTagger


class TaggerStreamState(NamedTuple):
    """``before``: (streams, 2, bands) log-mel frames that flux compares with; ``heard``:
    (streams, window - 1, 128) uint8, the last embeddings, ``seen`` (streams,) of them real."""

    frontend: vggish.VggishState
    before: jax.Array
    embeddings: jax.Array
    filled: jax.Array


def init(front: VggishConfig, model: ServedTagger, streams: int) -> TaggerStreamState:
    """The state of ``streams`` streams that have heard nothing but silence."""
    before = jnp.full((streams, RISE, front.bands), np.log(front.offset), jnp.float32)
    heard = jnp.zeros((streams, model.window - 1, vggish.WIDTH), jnp.uint8)
    return TaggerStreamState(
        vggish.init(front, streams), before, heard, jnp.zeros(streams, jnp.int32)
    )


def step(
    front: VggishConfig,
    model: ServedTagger,
    params: Params,
    state: TaggerStreamState,
    samples: jax.Array,
) -> tuple[TaggerStreamState, BlockAnalysis]:
    """``(streams, n) float32`` at 16 kHz, n a multiple of 0.96 s."""
    heard, frames = vggish.log_mel(front, state.frontend, samples)
    patches = vggish.embed(front, params["vggish"], frames)
    streams, fresh, window = samples.shape[0], patches.shape[1], model.window
    known = jnp.concatenate([state.embeddings, patches], axis=1)
    real = jnp.minimum(state.filled[:, None] + 1 + jnp.arange(fresh), window)
    at = jnp.arange(fresh) + window - real
    places = jnp.minimum(at[:, :, None] + jnp.arange(window), known.shape[1] - 1)
    windows = known[jnp.arange(streams)[:, None, None], places].reshape(-1, window, vggish.WIDTH)
    logits = tagger.logits(model.tagger, params["tagger"], windows, real.reshape(-1))
    scores = jax.nn.sigmoid(logits).reshape(streams, fresh, -1)
    shots = scores[..., list(model.gunshots)].max(axis=-1, keepdims=True)
    history = jnp.concatenate([state.before, frames], axis=1)
    flux = flux_db(history, 2.0 * POWER_TO_DB, model.stride)
    level = mean_square(samples, fresh)
    seen = jnp.minimum(state.filled + fresh, window - 1)
    state = TaggerStreamState(heard, history[:, -RISE:], known[:, fresh:], seen)
    return state, BlockAnalysis(jnp.concatenate([shots, scores], axis=-1), flux, level)
