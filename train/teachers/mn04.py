"""EfficientAT mn04_as: MobileNet v3 x 0.4 on log-mel frames of 32 kHz audio, 527 classes.

Source: fschmid56/EfficientAT. Batch norms are folded into the weights.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from train.teachers.layers import convolve_depthwise

RATE = 32_000
WINDOW, HOP, FFT = 800, 320, 1024
LAST = 16
"""The layer number of ``last``, after blocks 1 to 15."""
BLOCKS = (
    (3, 1, "R"), (3, 2, "R"), (3, 1, "R"), (5, 2, "R"), (5, 1, "R"), (5, 1, "R"), (3, 2, "H"),
    (3, 1, "H"), (3, 1, "H"), (3, 1, "H"), (3, 1, "H"), (3, 1, "H"), (5, 2, "H"), (5, 1, "H"),
    (5, 1, "H"),
)  # fmt: skip
"""Kernel size, stride and activation (ReLU or hard-swish) of blocks 1 to 15."""

Params = Mapping[str, jax.Array | np.ndarray]


def compute_log_mel(params: Params, samples: jax.Array) -> jax.Array:
    """Compute log-mel frames (n, frames, 128) of samples (n, t) at 32 kHz, full scale 1.

    Frame j is centred on sample 320 j; frames = (t - 1) // 320 + 1. The ends are reflected.
    """
    emphasised = samples[:, 1:] - 0.97 * samples[:, :-1]
    padded = jnp.pad(emphasised, ((0, 0), (FFT // 2, FFT // 2)), mode="reflect")
    count = (padded.shape[1] - FFT) // HOP + 1
    margin = (FFT - WINDOW) // 2
    index = HOP * np.arange(count)[:, None] + margin + np.arange(WINDOW)
    window = np.hanning(WINDOW).astype(np.float32)
    # the place of the window in the FFT changes the phase alone
    spectrum = jnp.fft.rfft(padded[:, index] * window, FFT)
    power = jnp.square(spectrum.real) + jnp.square(spectrum.imag)
    return (jnp.log(power @ params["mel"].T + 1e-5) + 4.5) / 5


def apply(params: Params, frames: jax.Array, layers: Sequence[int]) -> dict[int, jax.Array]:
    """Compute the features (n, ticks, frequency, channels) of blocks 1 to 15 and of LAST.

    ``frames`` are log-mel frames (n, frames, 128). A tick is 8 frames at blocks 4 to 6, 16 at
    blocks 7 to 12 and 32 from block 13; tick i is centred on frame 8 i, 16 i or 32 i, and
    ticks = ceil(frames / 8, 16 or 32). Squeeze and excitation average over the whole input.
    """
    kept = {}
    x = convolve_depthwise(frames[..., None], _kernel(params, "stem"), 2, ((1, 1), (1, 1)))
    x = jax.nn.hard_swish(x + params["stem.bias"])
    for block, (size, stride, kind) in enumerate(BLOCKS[: min(max(layers), len(BLOCKS))], 1):
        activate = jax.nn.relu if kind == "R" else jax.nn.hard_swish
        name, before = f"block{block}", x
        if f"{name}.expand.kernel" in params:
            x = activate(_pointwise(params, f"{name}.expand", x))
        side = (size // 2, size // 2)
        x = convolve_depthwise(x, _kernel(params, f"{name}.depthwise"), stride, (side, side))
        x = activate(x + params[f"{name}.depthwise.bias"])
        if f"{name}.squeeze.kernel" in params:
            scale = jax.nn.relu(_dense(params, f"{name}.squeeze", x.mean(axis=(1, 2))))
            scale = jax.nn.sigmoid(_dense(params, f"{name}.excite", scale))
            x = x * scale[:, None, None]
        x = _pointwise(params, f"{name}.project", x)
        if x.shape == before.shape:
            x = x + before
        if block in layers:
            kept[block] = x
    if LAST in layers:
        kept[LAST] = jax.nn.hard_swish(_pointwise(params, "last", x))
    return kept


def classify(params: Params, last: jax.Array) -> jax.Array:
    """Compute class probabilities (n, 527) of ``last`` of whole clips, published with 10 s."""
    return classify_embedding(params, last.mean(axis=(1, 2)))


def classify_embedding(params: Params, embedding: jax.Array) -> jax.Array:
    """Compute class probabilities (..., 527) of means (..., 384) of ``last``."""
    hidden = jax.nn.hard_swish(_dense(params, "hidden", embedding))
    return jax.nn.sigmoid(_dense(params, "classifier", hidden))


def _kernel(params: Params, name: str) -> jax.Array:
    # published as (frequency, time, in, out)
    return jnp.asarray(params[f"{name}.kernel"]).transpose(1, 0, 2, 3)


def _pointwise(params: Params, name: str, x: jax.Array) -> jax.Array:
    return x @ params[f"{name}.kernel"][0, 0] + params[f"{name}.bias"]


def _dense(params: Params, name: str, x: jax.Array) -> jax.Array:
    return x @ params[f"{name}.kernel"] + params[f"{name}.bias"]
