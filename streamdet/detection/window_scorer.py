"""Scores windows of log-mel frames with a bundle's verifier."""

from __future__ import annotations

import math
from typing import Protocol

import numpy as np

from streamdet.model.bundle import Bundle, Verifier
from streamdet.model.bundle_files import ENCODER_GRAPH, HEAD_GRAPH
from streamdet.model.config import FrontendConfig
from streamdet.model.numpy_verifier import NumpyVerifier

_LONGEST_SPAN = 256
"""Scored frames that windows may share at once; it limits memory."""


class VerifierNetwork(Protocol):
    """`NumpyVerifier`, or the same network in another runtime."""

    def encode(self, frames: np.ndarray) -> np.ndarray:
        """Log-mel frames to features."""
        ...

    def score(self, features: np.ndarray) -> np.ndarray:
        """The features of windows to the gunshot probabilities of their cores."""
        ...


class WindowScorer:
    """A verifier. It has no state, so all streams of a thread can share it.

    ``config`` is the shape of the verifier, ``threshold`` the score of the first stage that makes a
    frame a candidate, and ``silence`` the value of log-mel frames of digital silence. ``network``
    is the verifier in another runtime than numpy.
    """

    def __init__(
        self,
        frontend: FrontendConfig,
        verifier: Verifier,
        network: VerifierNetwork | None = None,
    ) -> None:
        self.config, self.threshold = verifier.config, verifier.candidate_threshold
        self.silence = (math.log(frontend.floor) - frontend.mean) / frontend.scale
        self._network = network or NumpyVerifier(verifier.config, verifier.params)

    def score_windows(self, log_mel: np.ndarray, starts: list[int]) -> np.ndarray:
        """Score the windows that begin at ``starts``, ascending, in ``(t, stride, bands) float32``
        log-mel frames: the gunshot probabilities of their cores, (windows, core) float32."""
        config, features = self.config, []
        left, right = config.reach
        length = config.window - left - right
        for group in _group(starts, config.window):
            span = log_mel[group[0] : group[-1] + config.window]
            encoded = self._network.encode(span.reshape(-1, config.bands))[left:]
            features += [encoded[at - group[0] :][:length] for at in group]
        return self._network.score(np.stack(features))


def _group(starts: list[int], window: int) -> list[list[int]]:
    """Windows that overlap, whose features are computed together."""
    groups: list[list[int]] = []
    for at in starts:
        group = groups[-1] if groups else []
        if group and at - group[-1] < window and at - group[0] < _LONGEST_SPAN:
            group.append(at)
        else:
            groups.append([at])
    return groups


def create_scorer(
    bundle: Bundle, *, verify: bool = True, onnx: bool = False
) -> WindowScorer | None:
    """The scorer of a bundle's verifier; None without one, or if ``verify`` is False.

    It uses onnxruntime with ``onnx``, otherwise numpy. Raises BundleError for a damaged graph.
    """
    front, verifier = bundle.frontend, bundle.verifier
    if verifier is None or not verify or not isinstance(front, FrontendConfig):
        return None
    if not onnx:
        return WindowScorer(front, verifier)
    from streamdet.model.onnx_network import OnnxVerifier

    graphs, sha256 = bundle.graphs, bundle.card["verifier"]["sha256"]
    network = OnnxVerifier(graphs[ENCODER_GRAPH], graphs[HEAD_GRAPH], sha256)
    return WindowScorer(front, verifier, network)
