"""Scores windows of log-mel frames with a bundle's verifier, in numpy."""

from __future__ import annotations

import math

import numpy as np

from streamdet.model.bundle import Bundle, Verifier
from streamdet.model.config import FrontendConfig
from streamdet.model.numpy_verifier import NumpyVerifier

_LONGEST_SPAN = 256
"""Scored frames that windows may share at once; it limits memory."""


class WindowScorer:
    """A verifier. It has no state, so all streams of a thread can share it.

    ``config`` is the shape of the verifier, ``threshold`` the score of the first stage that makes a
    frame a candidate, and ``silence`` the value of log-mel frames of digital silence.
    """

    def __init__(self, frontend: FrontendConfig, verifier: Verifier) -> None:
        self.config, self.threshold = verifier.config, verifier.candidate_threshold
        self.silence = (math.log(frontend.floor) - frontend.mean) / frontend.scale
        self._network = NumpyVerifier(verifier.config, verifier.params)

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
        core = slice(config.before - left, config.before - left + config.core)
        return self._network.score(np.stack(features), core)


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


def create_scorer(bundle: Bundle, *, verify: bool = True) -> WindowScorer | None:
    """The scorer of a bundle's verifier; None without one, or if ``verify`` is False."""
    if bundle.verifier is None or not verify or not isinstance(bundle.frontend, FrontendConfig):
        return None
    return WindowScorer(bundle.frontend, bundle.verifier)
