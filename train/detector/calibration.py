"""Calibration of a detector on val scenes: a temperature for its scores, and the threshold of
candidates."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.optimize import minimize, minimize_scalar

from streamdet.detection.frames import FrameGrid
from streamdet.model.config import Params
from streamdet.scoring.matching import COLLAR_S
from train.data.labels import GUNSHOT
from train.evaluation.scored_sets import ScoredFile

LOWEST_CANDIDATE, HIGHEST_CANDIDATE, CANDIDATE_RECALL = 0.01, 0.3, 0.95


def fit_temperature(logits: np.ndarray, positive: np.ndarray) -> float:
    """The temperature in [0.2, 5] of the highest likelihood of the seconds' truth (Guo et al.,
    *On Calibration of Modern Neural Networks*, ICML 2017). Both arrays are (n,)."""

    def loss(log_t: float) -> float:
        z = np.where(positive, logits, -logits) / np.exp(log_t)
        return float(np.mean(np.logaddexp(0.0, -z)))

    best = minimize_scalar(loss, bounds=(np.log(0.2), np.log(5.0)), method="bounded")
    return float(np.exp(best.x))  # type: ignore[attr-defined]


def fit_scale_and_bias(kinds: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[float, float]:
    """The temperature in [0.2, 5] and the bias of the highest likelihood of the truth (Platt
    scaling; Platt, *Probabilistic Outputs for Support Vector Machines*, 1999).

    ``kinds`` has the ``(n,)`` logits and truth of each kind of scene. All kinds have the same
    weight, however long they are.
    """

    def loss(x: np.ndarray) -> float:
        means = []
        for logits, positive in kinds:
            z = logits / np.exp(x[0]) + x[1]
            means.append(np.mean(np.logaddexp(0.0, np.where(positive, -z, z))))
        return float(np.mean(means))

    bounds = [(np.log(0.2), np.log(5.0)), (-10.0, 10.0)]
    best = minimize(loss, np.zeros(2), bounds=bounds, method="L-BFGS-B")
    return float(np.exp(best.x[0])), float(best.x[1])


def apply_temperature(params: Params, temperature: float, bias: float = 0.0) -> Params:
    """The weights with the logit of the gunshot head divided by a temperature, plus a bias. The
    calibration is part of the weights, so bundles need no field for it."""
    head = {name: x.copy() for name, x in params["head"].items()}
    for x in head.values():
        x[..., GUNSHOT] /= np.float32(temperature)
    head["bias"][..., GUNSHOT] += np.float32(bias)
    return {**params, "head": head}


def choose_candidate_threshold(grid: FrameGrid, files: Sequence[ScoredFile]) -> float:
    """The threshold of the first stage that 95 % of the events reach which reach 0.01, over all
    kinds of scenes, at most 0.3. On val the verifier confirms few of the others, and at a lower
    threshold it has more windows to score.

    ``files`` are scored by the first stage alone.
    """
    frame_s = grid.frame / grid.rate
    peaks = []
    for file in files:
        scores = file.frames.scores[:, 0]
        for onset, offset in file.truth:
            first = max(0, int((onset - COLLAR_S) / frame_s))
            last = int((offset + COLLAR_S) / frame_s) + 1
            peaks.append(float(scores[first:last].max(initial=0.0)))
    found = [p for p in peaks if p >= LOWEST_CANDIDATE] or [LOWEST_CANDIDATE]
    return float(min(np.quantile(found, 1.0 - CANDIDATE_RECALL), HIGHEST_CANDIDATE))
