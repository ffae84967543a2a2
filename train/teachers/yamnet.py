"""YAMNet: MobileNet v1 on log-mel patches of 16 kHz audio, 521 AudioSet classes.

Source: tensorflow/models, research/audioset/yamnet. Batch norms are folded into the weights.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from train.teachers.layers import Padding, convolve_depthwise

WINDOW, HOP, FFT = 400, 160, 512
STRIDED = (3, 5, 7, 13)

Params = Mapping[str, jax.Array | np.ndarray]


def compute_log_mel(params: Params, samples: jax.Array) -> jax.Array:
    """Compute log-mel frames (n, frames, 64) of samples (n, t) at 16 kHz, full scale 1.

    Frame j covers samples 160 j to 160 j + 400; frames = (t - 400) // 160 + 1.
    """
    count = (samples.shape[1] - WINDOW) // HOP + 1
    index = HOP * np.arange(count)[:, None] + np.arange(WINDOW)
    frames = samples[:, index] * params["window"]
    magnitude = jnp.abs(jnp.fft.rfft(frames, FFT))
    return jnp.log(magnitude @ params["mel"].T + 0.001)


def apply(params: Params, frames: jax.Array, layers: Sequence[int]) -> dict[int, jax.Array]:
    """Compute the features (n, ticks, frequency, channels) of the named layers, 1 to 14.

    ``frames`` are log-mel frames (n, frames, 64). A tick is 8 frames at layers 5 and 6, 16 at
    layers 7 to 12 and 32 at layers 13 and 14; ticks = frames // 8, 16 or 32. Strided layers pad
    one frame at the end, as TensorFlow's SAME does at even lengths, so tick i is centred on
    frame 8 i + 7, 16 i + 15 or 32 i + 31.
    """
    kept = {}
    x = convolve_depthwise(frames[..., None], jnp.asarray(params["layer1.kernel"]), 2, _padding(2))
    x = jax.nn.relu(x + params["layer1.bias"])
    for layer in range(2, max(layers) + 1):
        stride = 2 if layer in STRIDED else 1
        name = f"layer{layer}"
        kernel = jnp.asarray(params[f"{name}.depthwise.kernel"])
        x = convolve_depthwise(x, kernel, stride, _padding(stride))
        x = jax.nn.relu(x + params[f"{name}.depthwise.bias"])
        x = x @ params[f"{name}.pointwise.kernel"][0, 0]
        x = jax.nn.relu(x + params[f"{name}.pointwise.bias"])
        if layer in layers:
            kept[layer] = x
    return kept


def classify(params: Params, layer14: jax.Array) -> jax.Array:
    """Compute class probabilities (n, 521) of layer 14 of published patches of 96 frames."""
    return classify_embedding(params, layer14.mean(axis=(1, 2)))


def classify_embedding(params: Params, embedding: jax.Array) -> jax.Array:
    """Compute class probabilities (..., 521) of means (..., 1024) of layer 14."""
    return jax.nn.sigmoid(embedding @ params["classifier.kernel"] + params["classifier.bias"])


def _padding(stride: int) -> Padding:
    return ((1, 1), (1, 1)) if stride == 1 else ((0, 1), (0, 1))
