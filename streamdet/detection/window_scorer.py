"""Scores windows of samples with a bundle's verifier, in numpy."""

from __future__ import annotations

import numpy as np

from streamdet.detection.verification import LEAD
from streamdet.model import numpy_network
from streamdet.model.bundle import Bundle, Verifier
from streamdet.model.config import FrontendConfig
from streamdet.model.numpy_verifier import NumpyVerifier


class WindowScorer:
    """A verifier and its frontend. It has no state, so all streams of a thread can share it.

    ``config`` is the shape of the verifier, ``threshold`` the score of the first stage that makes a
    frame a candidate.
    """

    def __init__(self, frontend: FrontendConfig, verifier: Verifier) -> None:
        self.config, self.threshold = verifier.config, verifier.candidate_threshold
        self._frontend, self._network = frontend, NumpyVerifier(verifier.config, verifier.params)

    def score_window(self, samples: np.ndarray) -> np.ndarray:
        """Score a window: the samples of LEAD and ``config.window`` frames to the gunshot
        probabilities of the core, (core,) float32."""
        config, front = self.config, self._frontend
        tail = np.zeros((1, front.window - front.hop), np.float32)
        _, frames = numpy_network.log_mel(front, tail, samples[None])
        frames = frames[0, LEAD * config.stride :].astype(np.float32)
        return self._network.score(frames)[config.before : config.before + config.core, 0]


def create_scorer(bundle: Bundle, *, verify: bool = True) -> WindowScorer | None:
    """The scorer of a bundle's verifier; None without one, or if ``verify`` is False."""
    if bundle.verifier is None or not verify or not isinstance(bundle.frontend, FrontendConfig):
        return None
    return WindowScorer(bundle.frontend, bundle.verifier)
