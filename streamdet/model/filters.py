"""Window, mel filters and background weights, as numpy arrays, shared by numpy and JAX."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from streamdet.model.config import FrontendConfig


def hann(length: int) -> np.ndarray:
    """The periodic Hann window, (length,) float32."""
    phase = 2.0 * np.pi * np.arange(length) / length
    return (0.5 - 0.5 * np.cos(phase)).astype(np.float32)


@lru_cache(maxsize=8)
def mel_matrix(config: FrontendConfig) -> np.ndarray:
    """Triangular mel filters, (n_fft // 2 + 1, bands) float32, each with a peak of 1.

    The mel scale is O'Shaughnessy's, *Speech Communication* (1987): 2595 log10(1 + f / 700).
    """
    edges_mel = np.linspace(_mel(config.f_min), _mel(config.f_max), config.bands + 2)
    edges = 700.0 * (10.0 ** (edges_mel / 2595.0) - 1.0)
    bins = np.arange(config.n_fft // 2 + 1) * config.sample_rate / config.n_fft
    rising = (bins[:, None] - edges[None, :-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[None, 2:] - bins[:, None]) / (edges[2:] - edges[1:-1])
    return np.maximum(0.0, np.minimum(rising, falling)).astype(np.float32)


def _mel(hertz: float) -> float:
    return 2595.0 * float(np.log10(1.0 + hertz / 700.0))


@lru_cache(maxsize=32)
def background_weights(constant: int, stride: int, ticks: int) -> tuple[np.ndarray, np.ndarray]:
    """The weights of an exponential mean over ``constant`` frames, updated once per stride.

    The mean before stride t is ``mix[t] @ stride_means + decay[t] * mean``, where ``mean`` is the
    one before stride 0; the last row gives the mean after all strides. Returns ``mix`` (ticks + 1,
    ticks) and ``decay`` (ticks + 1,), float32.
    """
    keep = np.exp(-stride / constant)
    age = np.arange(ticks + 1)[:, None] - 1 - np.arange(ticks)
    mix = np.where(age >= 0, (1.0 - keep) * keep ** np.maximum(age, 0), 0.0).astype(np.float32)
    return mix, (keep ** np.arange(ticks + 1)).astype(np.float32)
