"""Calibration of taggers: three numbers, fitted on held-out clips, that make scores probabilities.

Log-odds are scaled (temperature, Guo et al., *On Calibration of Modern Neural Networks*, ICML
2017), shifted, and shifted by the frequency of each class, because training draws the classes
more evenly than they occur.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

SMALLEST_PROBABILITY = 1e-7


def fit_calibration(
    scores: np.ndarray, truth: np.ndarray, shares: np.ndarray
) -> tuple[float, np.ndarray]:
    """The scale and the bias of each class, (classes,), with the lowest mean cross-entropy.

    ``scores`` and ``truth`` are (clips, classes); ``shares`` (classes,) is the share of clips
    that have each class.
    """
    log_odds = compute_log_odds(scores)
    frequency = np.log(shares) - np.log(shares).mean()

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        scale, shift, slope = weights
        z = scale * log_odds + shift + slope * frequency
        error = expit(z) - truth
        value = np.mean(np.logaddexp(0.0, z) - truth * z)
        gradient = [np.mean(error * log_odds), np.mean(error), np.mean(error * frequency)]
        return float(value) * len(shares), np.array(gradient) * len(shares)

    scale, shift, slope = minimize(loss, np.array([1.0, 0.0, 0.0]), jac=True).x
    return float(scale), shift + slope * frequency


def apply_calibration(scores: np.ndarray, scale: float, bias: np.ndarray) -> np.ndarray:
    """Calibrated probabilities, (clips, classes)."""
    return expit(scale * compute_log_odds(scores) + bias)


def compute_log_odds(scores: np.ndarray) -> np.ndarray:
    """ln p / (1 - p) of probabilities, which are clipped to stay off 0 and 1."""
    p = np.clip(scores.astype(np.float64), SMALLEST_PROBABILITY, 1.0 - SMALLEST_PROBABILITY)
    return np.log(p) - np.log1p(-p)
