"""VGGish: 16 kHz samples to AudioSet's embeddings, 128 bytes per 0.96 s.

Log-mel patches of 96 frames, six convolutions and three dense layers (Hershey et al., *CNN
Architectures for Large-Scale Audio Classification*, ICASSP 2017), then PCA with whitening and
quantisation to 8 bits over [-2, 2], as in the AudioSet release. `log_mel` carries its state like
`streamdet.model.frontend.step`, and its frames are aligned in the same way: the first window
begins 15 ms before the first sample, in silence.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from streamdet.model.config import Params, VggishConfig
from streamdet.model.filters import hann
from streamdet.model.frontend import frame_signal

WIDTH = 128
"""Values in an embedding."""
LOWEST, HIGHEST = -2.0, 2.0
"""Range of a quantised value."""
CONVOLUTIONS = (
    ("conv1", 64, True),
    ("conv2", 128, True),
    ("conv3_1", 256, False),
    ("conv3_2", 256, True),
    ("conv4_1", 512, False),
    ("conv4_2", 512, True),
)
"""Name, channels, and whether 2 x 2 max pooling follows."""
DENSE = (("fc1_1", 4096), ("fc1_2", 4096), ("fc2", WIDTH))


class VggishState(NamedTuple):
    """``tail``: (streams, window - hop) float32, the past samples that the next frame needs."""

    tail: jax.Array


def init(config: VggishConfig, streams: int) -> VggishState:
    """The initial state of ``streams`` streams: silence before sample 0."""
    return VggishState(jnp.zeros((streams, config.window - config.hop), jnp.float32))


def log_mel(
    config: VggishConfig, state: VggishState, samples: jax.Array
) -> tuple[VggishState, jax.Array]:
    """``(streams, n) float32`` samples, n a multiple of the hop, to ``(streams, n / hop, bands)``
    natural logarithms of mel magnitudes."""
    extended = jnp.concatenate([state.tail, samples], axis=1)
    count = samples.shape[1] // config.hop
    windows = frame_signal(extended, config.window, config.hop, count) * hann(config.window)
    magnitude = jnp.abs(jnp.fft.rfft(windows, config.n_fft))
    mel = magnitude @ jnp.asarray(mel_matrix(config))
    return VggishState(extended[:, count * config.hop :]), jnp.log(mel + config.offset)


@lru_cache(maxsize=4)
def mel_matrix(config: VggishConfig) -> np.ndarray:
    """Filters, (n_fft // 2 + 1, bands) float32, that are triangular over HTK's mel scale, 1127 ln(1
    + f / 700), rather than over frequency. All are 0 at 0 Hz."""
    mel_of = lambda hertz: 1127.0 * np.log1p(np.asarray(hertz) / 700.0)  # noqa: E731
    edges = np.linspace(mel_of(config.f_min), mel_of(config.f_max), config.bands + 2)
    bins = mel_of(np.arange(config.n_fft // 2 + 1) * config.sample_rate / config.n_fft)[:, None]
    rising = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    weights = np.maximum(0.0, np.minimum(rising, falling))
    weights[0] = 0.0
    return weights.astype(np.float32)


class VggishNetwork(nn.Module):
    """``(patches, 96, 64) float32`` log-mel patches to ``(patches, 128)``, without activation."""

    @nn.compact
    def __call__(self, patches: jax.Array) -> jax.Array:
        """The values of the embedding layer."""
        x = patches[..., None]
        for name, channels, pooled in CONVOLUTIONS:
            x = nn.relu(nn.Conv(channels, (3, 3), name=name)(x))
            if pooled:
                x = nn.max_pool(x, (2, 2), (2, 2))
        x = x.reshape(x.shape[0], -1)
        for name, width in DENSE:
            x = nn.Dense(width, name=name)(x)
            x = x if name == DENSE[-1][0] else nn.relu(x)
        return x


def quantise(pca: Params, embeddings: jax.Array) -> jax.Array:
    """Whiten ``(n, 128)`` embeddings and quantise them to bytes over [-2, 2].

    ``pca``: ``means`` (128,), and ``vectors`` (128, 128) with a row for each output.
    """
    whitened = (embeddings - pca["means"]) @ pca["vectors"].T
    scaled = (jnp.clip(whitened, LOWEST, HIGHEST) - LOWEST) / (HIGHEST - LOWEST)
    return (scaled * 255.0).astype(jnp.uint8)


def dequantise(patches: jax.Array) -> jax.Array:
    """Bytes as float32, each the middle of its quantisation step."""
    span = HIGHEST - LOWEST
    return patches.astype(jnp.float32) * (span / 255.0) + (LOWEST + span / 512.0)


def embed(config: VggishConfig, params: Params, frames: jax.Array) -> jax.Array:
    """Log-mel frames ``(streams, f, bands)``, f a multiple of the patch, to embeddings
    ``(streams, f / patch, 128) uint8``. ``params``: the network's layers and ``pca``."""
    layers = {name: params[name] for name, *_ in (*CONVOLUTIONS, *DENSE)}
    patches = frames.reshape(-1, config.patch, config.bands)
    values: Any = VggishNetwork().apply({"params": layers}, patches)
    return quantise(params["pca"], values).reshape(frames.shape[0], -1, WIDTH)


def param_shapes() -> dict[str, tuple[int, ...]]:
    """The shape of every tensor, by ``layer/tensor``."""
    config = VggishConfig()
    shapes, width = {}, 1
    for name, channels, _ in CONVOLUTIONS:
        shapes[f"{name}/kernel"], shapes[f"{name}/bias"] = (3, 3, width, channels), (channels,)
        width = channels
    width *= config.patch // 16 * (config.bands // 16)
    for name, out in DENSE:
        shapes[f"{name}/kernel"], shapes[f"{name}/bias"] = (width, out), (out,)
        width = out
    return {**shapes, "pca/means": (WIDTH,), "pca/vectors": (WIDTH, WIDTH)}
