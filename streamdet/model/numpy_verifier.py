"""The verifier in numpy: the arithmetic of `streamdet.model.verifier` without JAX."""

from __future__ import annotations

import numpy as np

from streamdet.model.config import Params, VerifierConfig
from streamdet.model.numpy_network import normalise, reorder_gates, run_lstm_both_ways

Array = np.ndarray


class NumpyVerifier:
    """A verifier with its weights, prepared once."""

    def __init__(self, config: VerifierConfig, params: Params) -> None:
        self.config = config
        self._params = {
            layer: {name: np.asarray(x, np.float32) for name, x in tensors.items()}
            for layer, tensors in params.items()
        }
        for i in range(len(config.conv)):
            kernel = self._params[f"conv_{i}"]["kernel"]
            self._params[f"conv_{i}"]["kernel"] = kernel.reshape(-1, kernel.shape[-1])
        for direction in ("forward", "backward"):
            layer = self._params[direction]
            self._params[direction] = {name: reorder_gates(x) for name, x in layer.items()}

    def encode(self, frames: Array) -> Array:
        """``(t, bands) float32`` log-mel frames to ``(t / stride, dense)`` features. t must be a
        multiple of the stride. `VerifierConfig.reach` frames at the ends depend on what is there
        beyond them, which counts as zeros."""
        params, x = self._params, frames[..., None]
        for i, (_, time, bands, step, band_step) in enumerate(self.config.conv):
            x = _convolve(params[f"conv_{i}"], x, (time, bands), (step, band_step))
            x = np.maximum(normalise(x, params[f"norm_{i}"]), 0.0)
        x = x.reshape(len(x), -1) @ params["dense"]["kernel"] + params["dense"]["bias"]
        return np.maximum(normalise(x, params["dense_norm"]), 0.0)

    def score(self, features: Array) -> Array:
        """``(windows, length, dense) float32`` features to the gunshot probabilities of the cores:
        (windows, core) float32. The length is that of a window without its reach."""
        params, first = self._params, self.config.before - self.config.reach[0]
        core = slice(first, first + self.config.core)
        x = run_lstm_both_ways(params["forward"], params["backward"], features, core)
        logits = x @ params["head"]["kernel"][:, 0] + params["head"]["bias"][0]
        return 1.0 / (1.0 + np.exp(-logits))


def _convolve(layer: Params, x: Array, kernel: tuple[int, int], strides: tuple[int, int]) -> Array:
    """A convolution of ``(t, bands, channels)`` as one matrix product over shifted copies."""
    (time, bands), (step, band_step), channels = kernel, strides, x.shape[2]
    padded = np.pad(x, ((time // 2,) * 2, (bands // 2,) * 2, (0, 0)))
    ticks, positions = (len(x) - 1) // step + 1, (x.shape[1] - 1) // band_step + 1
    tick, band, channel = padded.strides
    # the bands and channels under the kernel are adjacent, so they are copied together
    windows = np.lib.stride_tricks.as_strided(
        padded,
        (ticks, positions, time, bands * channels),
        (tick * step, band * band_step, tick, channel),
        writeable=False,
    )
    out = windows.reshape(ticks * positions, -1) @ layer["kernel"] + layer["bias"]
    return out.reshape(ticks, positions, -1)
