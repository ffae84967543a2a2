"""Ranking metrics: how well scores separate the positives from the others.

``scores`` is (n,) float and ``truth`` (n,) bool. Equal scores are one threshold, so the order of
the items does not matter.
"""

from __future__ import annotations

import numpy as np


def average_precision(scores: np.ndarray, truth: np.ndarray) -> float:
    """Precision at each distinct score, weighted by the gain in recall. NaN without a positive."""
    if not truth.any():
        return float("nan")
    order = np.argsort(-scores, kind="stable")
    ranked, s = truth[order], scores[order]
    ends = np.append(np.flatnonzero(np.diff(s)), len(s) - 1)
    hits = np.cumsum(ranked)[ends].astype(np.float64)
    gained = np.diff(hits, prepend=0.0) / hits[-1]
    return float(np.sum(gained * hits / (ends + 1)))


def roc_auc(scores: np.ndarray, truth: np.ndarray) -> float:
    """The area under the ROC curve by the Mann-Whitney rank sum, ties counted half. NaN without
    both a positive and a negative."""
    positive = int(truth.sum())
    if positive in (0, len(truth)):
        return float("nan")
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    ranks = (last - (counts - 1) / 2.0)[inverse]
    low = positive * (positive + 1) / 2.0
    return float((ranks[truth].sum() - low) / (positive * (len(truth) - positive)))
