"""Log-mel frames from 16 kHz samples, as one pure step that carries its own past.

The whole contract: ``step(config, state, samples) -> (state, frames)`` takes
``(streams, n) float32`` samples in [-1, 1] and gives ``(streams, f, bands) float32``
frames; frame ``i`` of a stream ends at sample ``(i + 1) * hop`` and looks back over one
window, so no frame waits for the future. Any chunking of the same samples gives the same
frames: what does not yet fill a hop stays in the state.

Serving, training and evaluation all call this one function.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from streamdet.model.config import FrontendConfig
from streamdet.model.filters import hann, mel_matrix


class FrontendState(NamedTuple):
    """``tail``: (streams, k) float32, the samples that the next frame still needs.

    k is ``window - hop`` after whole hops, and up to ``hop - 1`` more between them.
    """

    tail: jax.Array


def init(config: FrontendConfig, streams: int) -> FrontendState:
    """The state of ``streams`` streams that have heard nothing: silence before sample 0."""
    return FrontendState(jnp.zeros((streams, config.window - config.hop), jnp.float32))


def step(
    config: FrontendConfig, state: FrontendState, samples: jax.Array
) -> tuple[FrontendState, jax.Array]:
    """Turn ``(streams, n) float32`` samples into ``(streams, f, bands) float32`` frames.

    ``f`` is the number of hops completed by these samples together with the state's tail,
    zero included. Pure, and jittable: its shapes follow from the shapes of its arguments.
    """
    heard = jnp.concatenate([state.tail, samples], axis=1)
    overlap = config.window - config.hop
    count = (heard.shape[1] - overlap) // config.hop
    tail = heard[:, count * config.hop :]
    if count == 0:
        return FrontendState(tail), jnp.zeros((heard.shape[0], 0, config.bands), jnp.float32)
    power = _power_spectrum(config, heard[:, : count * config.hop + overlap], count)
    mel = power @ jnp.asarray(mel_matrix(config))
    frames = (jnp.log(mel + config.floor) - config.mean) / config.scale
    return FrontendState(tail), frames


def _power_spectrum(config: FrontendConfig, heard: jax.Array, count: int) -> jax.Array:
    """(streams, samples) -> (streams, count, n_fft // 2 + 1), a full-scale sine reading 1."""
    taper = hann(config.window)
    windows = frame_signal(heard, config.window, config.hop, count) * (taper * (2.0 / taper.sum()))
    spectrum = jnp.fft.rfft(windows, config.n_fft)
    return spectrum.real**2 + spectrum.imag**2


def frame_signal(heard: jax.Array, window: int, hop: int, count: int) -> jax.Array:
    """The first ``count`` windows of ``(streams, samples)``, a hop apart:
    ``(streams, count, window)``."""
    hops = -(-window // hop)
    whole = (count + hops - 1) * hop
    padded = jnp.pad(heard[:, :whole], ((0, 0), (0, max(0, whole - heard.shape[1]))))
    pieces = padded.reshape(heard.shape[0], count + hops - 1, hop)
    windows = jnp.concatenate([pieces[:, i : i + count] for i in range(hops)], axis=2)
    return windows[:, :, :window]


def log_power(config: FrontendConfig, frames: jax.Array) -> jax.Array:
    """Undo the normalisation: natural-log band power of frames of any shape."""
    return frames * config.scale + config.mean
