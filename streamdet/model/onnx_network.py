"""The networks in onnxruntime, for long files: as fast as JAX, and ready at once.

The graphs are files of the bundle (`train/onnx/`). The frontend stays in numpy. Results equal those
of `streamdet.model.numpy_network` and `streamdet.model.numpy_verifier` to 1e-5.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from streamdet.model.bundle_files import GRAPH_WEIGHTS_KEY, BundleError
from streamdet.model.config import ModelConfig
from streamdet.model.filters import background_weights
from streamdet.model.numpy_network import NumpyState


class OnnxDetector:
    """Encoder and recurrent head. Raises BundleError if the graph is damaged or was made from
    other weights than those with the checksum ``sha256``."""

    def __init__(self, config: ModelConfig, graph: Path, sha256: str) -> None:
        self._config, self._session = config, _open_session(graph, sha256)
        self._outputs = ["logits", *(f"{name}_after" for name in _state_names(config))]

    def run(self, state: NumpyState, frames: np.ndarray) -> tuple[NumpyState, np.ndarray]:
        """``(streams, f, bands) float32`` log-mel frames to the new state and logits ``(streams, f
        / stride, labels)``."""
        config, ticks = self._config, frames.shape[1] // self._config.stride
        arrays = [*state.background, *state.tails, *(x for layer in state.lstm for x in layer)]
        inputs = dict(zip(_state_names(config), arrays, strict=True))
        for i, constant in enumerate(config.backgrounds):
            mix, decay = background_weights(constant, config.stride, ticks)
            inputs |= {f"mix_{i}": mix, f"decay_{i}": decay[:, None]}
        logits, *after = self._session.run(self._outputs, {"frames": frames, **inputs})
        means, tails = len(state.background), len(state.background) + len(state.tails)
        lstm = tuple(zip(after[tails::2], after[tails + 1 :: 2], strict=True))
        parts = tuple(after[means:tails]), tuple(after[:means])
        return NumpyState(state.tail, *parts, lstm), logits


class OnnxVerifier:
    """A verifier, with the methods of `streamdet.model.numpy_verifier.NumpyVerifier`.

    Raises BundleError if a graph is damaged or was made from other weights than those with the
    checksum ``sha256``.
    """

    def __init__(self, encoder: Path, head: Path, sha256: str) -> None:
        self._encoder, self._head = (_open_session(path, sha256) for path in (encoder, head))

    def encode(self, frames: np.ndarray) -> np.ndarray:
        """``(t, bands) float32`` log-mel frames to ``(t / stride, dense)`` features."""
        return self._encoder.run(None, {"frames": frames})[0]

    def score(self, features: np.ndarray) -> np.ndarray:
        """``(windows, length, dense) float32`` features to the gunshot probabilities of the cores:
        (windows, core) float32."""
        return self._head.run(None, {"features": features})[0]


def _state_names(config: ModelConfig) -> list[str]:
    means = [f"mean_{i}" for i in range(len(config.backgrounds))]
    tails = [f"tail_{i}" for i in range(len(config.conv) + len(config.residual))]
    lstms = [f"{part}_{i}" for i in range(len(config.cells)) for part in ("hidden", "cell")]
    return [*means, *tails, *lstms]


def _open_session(graph: Path, sha256: str) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(
            graph.read_bytes(), options, ["CPUExecutionProvider"]
        )
    except OSError as error:
        raise BundleError(f"{graph}: {error.strerror}") from error
    except Exception as error:
        raise BundleError(f"{graph}: damaged. Copy the bundle again") from error
    if session.get_modelmeta().custom_metadata_map.get(GRAPH_WEIGHTS_KEY) != sha256:
        raise BundleError(
            f"{graph}: made from other weights than the bundle's. Run `python -m train graphs "
            f"{graph.parent}`"
        )
    return session
