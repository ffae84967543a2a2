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

    def score(self, frames: Array) -> Array:
        """``(t, bands) float32`` log-mel frames of one window to ``(t / stride, labels)``
        probabilities. t must be a multiple of the stride."""
        config, params, x = self.config, self._params, frames[..., None]
        for i, (_, time, bands, step, band_step) in enumerate(config.conv):
            x = _convolve(params[f"conv_{i}"], x, (time, bands), (step, band_step))
            x = np.maximum(normalise(x, params[f"norm_{i}"]), 0.0)
        x = x.reshape(len(x), -1) @ params["dense"]["kernel"] + params["dense"]["bias"]
        x = np.maximum(normalise(x, params["dense_norm"]), 0.0)
        x = run_lstm_both_ways(params["forward"], params["backward"], x)
        logits = x @ params["head"]["kernel"] + params["head"]["bias"]
        return 1.0 / (1.0 + np.exp(-logits))


def _convolve(layer: Params, x: Array, kernel: tuple[int, int], strides: tuple[int, int]) -> Array:
    """A convolution of ``(t, bands, channels)`` as one matrix product over shifted copies."""
    (time, bands), (step, band_step) = kernel, strides
    padded = np.pad(x, ((time // 2,) * 2, (bands // 2,) * 2, (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, kernel, axis=(0, 1))
    windows = windows[::step, ::band_step].transpose(0, 1, 3, 4, 2)
    rows = windows.reshape(-1, layer["kernel"].shape[0])
    out = rows @ layer["kernel"] + layer["bias"]
    return out.reshape(*windows.shape[:2], -1)
