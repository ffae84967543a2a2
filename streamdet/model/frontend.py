"""The frontend: 16 kHz samples to log-mel frames, as a pure step that carries its state.

``step(config, state, samples) -> (state, frames)`` takes ``(streams, n) float32`` samples in
[-1, 1] and returns ``(streams, f, bands) float32`` frames. Frame ``i`` ends at sample
``(i + 1) * hop`` and spans the window before it, so it needs no later samples. Any chunking of the
same samples gives the same frames.

The first of the network's three stages, before the encoder. Serving, training and evaluation use
this function.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from streamdet.model.config import FrontendConfig
from streamdet.model.filters import hann, mel_matrix


class FrontendState(NamedTuple):
    """``tail``: (streams, k) float32, the past samples that the next frame needs.

    k is ``window - hop`` after a whole number of hops, and up to ``hop - 1`` more otherwise.
    """

    tail: jax.Array


def init(config: FrontendConfig, streams: int) -> FrontendState:
    """The initial state of ``streams`` streams: silence before sample 0."""
    return FrontendState(jnp.zeros((streams, config.window - config.hop), jnp.float32))


def step(
    config: FrontendConfig, state: FrontendState, samples: jax.Array
) -> tuple[FrontendState, jax.Array]:
    """Turn ``(streams, n) float32`` samples into ``(streams, f, bands) float32`` frames.

    ``f``, which may be 0, is the number of hops that the samples complete together with the
    state's tail. The function can be jitted: its output shapes follow from its input shapes.
    """
    samples = jnp.concatenate([state.tail, samples], axis=1)
    overlap = config.window - config.hop
    count = (samples.shape[1] - overlap) // config.hop
    tail = samples[:, count * config.hop :]
    if count == 0:
        return FrontendState(tail), jnp.zeros((samples.shape[0], 0, config.bands), jnp.float32)
    power = _power_spectrum(config, samples[:, : count * config.hop + overlap], count)
    mel = power @ jnp.asarray(mel_matrix(config))
    frames = (jnp.log(mel + config.floor) - config.mean) / config.scale
    return FrontendState(tail), frames


def _power_spectrum(config: FrontendConfig, samples: jax.Array, count: int) -> jax.Array:
    """(streams, samples) -> (streams, count, n_fft // 2 + 1); a full-scale sine has power 1."""
    taper = hann(config.window)
    windows = frame_signal(samples, config.window, config.hop, count) * (
        taper * (2.0 / taper.sum())
    )
    spectrum = jnp.fft.rfft(windows, config.n_fft)
    return spectrum.real**2 + spectrum.imag**2


def frame_signal(samples: jax.Array, window: int, hop: int, count: int) -> jax.Array:
    """The first ``count`` windows, one hop apart: ``(streams, n) -> (streams, count, window)``."""
    hops = -(-window // hop)
    length = (count + hops - 1) * hop
    padded = jnp.pad(samples[:, :length], ((0, 0), (0, max(0, length - samples.shape[1]))))
    pieces = padded.reshape(samples.shape[0], count + hops - 1, hop)
    windows = jnp.concatenate([pieces[:, i : i + count] for i in range(hops)], axis=2)
    return windows[:, :, :window]


def log_power(config: FrontendConfig, frames: jax.Array) -> jax.Array:
    """The natural logarithm of band power: frames of any shape, without the normalisation."""
    return frames * config.scale + config.mean
