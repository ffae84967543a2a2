"""Probabilities that are frequencies: three numbers, fitted on held-out clips.

Log-odds are scaled (temperature, Guo et al., *On Calibration of Modern Neural Networks*, ICML
2017), moved, and moved by how frequent a class is, since classes are drawn more evenly in
training than they occur.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

LEAST = 1e-7


def fit(scores: np.ndarray, truth: np.ndarray, shares: np.ndarray) -> tuple[float, np.ndarray]:
    """The scale, and the bias of each class, (classes,), of the lowest mean cross-entropy;
    ``scores`` and ``truth`` (clips, classes), ``shares`` (classes,) how many clips have each."""
    odds = log_odds(scores)
    frequent = np.log(shares) - np.log(shares).mean()

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        scale, moved, slope = weights
        z = scale * odds + moved + slope * frequent
        wrong = expit(z) - truth
        value = np.mean(np.logaddexp(0.0, z) - truth * z)
        slopes = [np.mean(wrong * odds), np.mean(wrong), np.mean(wrong * frequent)]
        return float(value) * len(shares), np.array(slopes) * len(shares)

    scale, moved, slope = minimize(loss, np.array([1.0, 0.0, 0.0]), jac=True).x
    return float(scale), moved + slope * frequent


def applied(scores: np.ndarray, scale: float, bias: np.ndarray) -> np.ndarray:
    """Probabilities (clips, classes) after a calibration."""
    return expit(scale * log_odds(scores) + bias)


def log_odds(scores: np.ndarray) -> np.ndarray:
    """ln p / (1 - p) of probabilities kept off 0 and 1."""
    p = np.clip(scores.astype(np.float64), LEAST, 1.0 - LEAST)
    return np.log(p) - np.log1p(-p)
