"""The streaming step of a tagger: samples to VGGish embeddings to scores.

A frame lasts 0.96 s and has the scores of the last ``window`` embeddings, so a sound raises the
score as long as it lies in that window. Flux and level are those of the detectors.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from streamdet.detection.analysis import FLUX_LAG, POWER_TO_DB, BlockAnalysis, flux_db, mean_square
from streamdet.model import tagger, vggish
from streamdet.model.config import Params, VggishConfig
from streamdet.model.tagger_bundle import ServedTagger


class TaggerStreamState(NamedTuple):
    """``flux_history``: (streams, 2, bands) float32, the last log-mel frames. ``embeddings``:
    (streams, window - 1, 128) uint8, the last ones, of which ``filled`` (streams,) int32 are of
    real audio."""

    frontend: vggish.VggishState
    flux_history: jax.Array
    embeddings: jax.Array
    filled: jax.Array


def init(front: VggishConfig, model: ServedTagger, streams: int) -> TaggerStreamState:
    """The state of ``streams`` streams before the first sample."""
    history = jnp.full((streams, FLUX_LAG, front.bands), np.log(front.offset), jnp.float32)
    embeddings = jnp.zeros((streams, model.window - 1, vggish.WIDTH), jnp.uint8)
    filled = jnp.zeros(streams, jnp.int32)
    return TaggerStreamState(vggish.init(front, streams), history, embeddings, filled)


def step(
    front: VggishConfig,
    model: ServedTagger,
    params: Params,
    state: TaggerStreamState,
    samples: jax.Array,
) -> tuple[TaggerStreamState, BlockAnalysis]:
    """Analyse ``(streams, n) float32`` samples at 16 kHz, n a multiple of 0.96 s."""
    carried, frames = vggish.log_mel(front, state.frontend, samples)
    new = vggish.embed(front, params["vggish"], frames)
    streams, count, window = samples.shape[0], new.shape[1], model.window
    embeddings = jnp.concatenate([state.embeddings, new], axis=1)
    lengths = jnp.minimum(state.filled[:, None] + 1 + jnp.arange(count), window)
    first = jnp.arange(count) + window - lengths
    indices = jnp.minimum(first[:, :, None] + jnp.arange(window), embeddings.shape[1] - 1)
    windows = embeddings[jnp.arange(streams)[:, None, None], indices]
    windows = windows.reshape(-1, window, vggish.WIDTH)
    logits = tagger.logits(model.tagger, params["tagger"], windows, lengths.reshape(-1))
    scores = jax.nn.sigmoid(logits).reshape(streams, count, -1)
    gunshot = scores[..., list(model.gunshots)].max(axis=-1, keepdims=True)
    history = jnp.concatenate([state.flux_history, frames], axis=1)
    flux = flux_db(history, 2.0 * POWER_TO_DB, model.stride)
    level = mean_square(samples, count)
    filled = jnp.minimum(state.filled + count, window - 1)
    state = TaggerStreamState(carried, history[:, -FLUX_LAG:], embeddings[:, count:], filled)
    none = jnp.zeros((streams, 0, 0, 0), jnp.float32)
    return state, BlockAnalysis(jnp.concatenate([gunshot, scores], axis=-1), flux, level, none)
