"""How well clips are tagged: the YouTube-8M evaluation's figures, and what is used now.

All take ``(clips, classes)``: ``scores`` float in [0, 1], ``truth`` bool. Hit@1, PERR, GAP and
MAP are those of Abu-El-Haija et al. (*YouTube-8M*, 2016) as its evaluation computes them: of
each clip only its 20 highest scores count, recall is of all positives, and an average precision
is taken at 1,000 thresholds. Macro mAP and AUC are over all scores; d' is the AUC as a distance
of two normal distributions (Hershey et al., ICASSP 2017).
"""

from __future__ import annotations

import numpy as np
from scipy.stats import norm

TOP = 20
POINTS = 1_000
LEAST = 1e-5


def compute_metrics(
    scores: np.ndarray, truth: np.ndarray, gunshots: tuple[int, ...] = ()
) -> dict[str, float]:
    """Every figure by its name in JSON; those of gunshots where their classes are given."""
    kept = mark_top_scores(scores)
    figures = {
        "clips": len(scores),
        "hit_at_1": hit_at_1(scores, truth),
        "perr": perr(scores, truth),
        "map": mean_average_precision(scores, truth, kept),
        "gap": interpolated_ap(scores[kept], truth[kept], int(truth.sum())),
        "avg_loss": average_loss(scores, truth),
        "macro_map": float(np.mean(average_precisions(scores, truth))),
        **compute_ranking_metrics(scores, truth),
    }
    if gunshots:
        some = list(gunshots)
        any_of_them = np.asarray(truth[:, some].any(axis=1))
        figures["ap_any_gunshot"] = average_precision(scores[:, some].max(axis=1), any_of_them)
    return figures


def hit_at_1(scores: np.ndarray, truth: np.ndarray) -> float:
    """The share of clips whose highest score is of one of their classes."""
    return float(truth[np.arange(len(scores)), scores.argmax(axis=1)].mean())


def perr(scores: np.ndarray, truth: np.ndarray) -> float:
    """Precision at equal recall rate: of as many highest classes as a clip has, the share that
    are its own, averaged over the clips that have any; scores of 0 are none."""
    order = np.argsort(-scores, axis=1, kind="stable")
    count = truth.sum(axis=1)
    inside = np.arange(scores.shape[1]) < count[:, None]
    right = np.take_along_axis(truth & (scores > 0.0), order, axis=1) & inside
    some = count > 0
    return float((right.sum(axis=1)[some] / count[some]).mean())


def mark_top_scores(scores: np.ndarray, top: int = TOP) -> np.ndarray:
    """(clips, classes) bool: the ``top`` highest scores of each clip."""
    kept = np.zeros(scores.shape, bool)
    top = min(top, scores.shape[1])
    highest = np.argpartition(-scores, top - 1, axis=1)[:, :top]
    np.put_along_axis(kept, highest, True, axis=1)
    return kept


def mean_average_precision(scores: np.ndarray, truth: np.ndarray, kept: np.ndarray) -> float:
    """The mean of `interpolated_ap` over the classes that any clip has, of the scores that
    ``kept`` marks."""
    each = [
        interpolated_ap(scores[kept[:, c], c], truth[kept[:, c], c], int(truth[:, c].sum()))
        for c in np.flatnonzero(truth.any(axis=0))
    ]
    return float(np.mean(each))


def interpolated_ap(scores: np.ndarray, truth: np.ndarray, positives: int) -> float:
    """Average precision at 1,000 thresholds, evenly over [0, 1]: at each that lets new items in,
    the precision so far times the gain of recall, recall being of ``positives``; (n,) both."""
    if not positives or not len(scores):
        return 0.0
    step = np.ceil((1.0 - scores.astype(np.float64)) * POINTS - 1e-9).astype(int)
    items = np.bincount(step, minlength=POINTS + 1)
    hits = np.bincount(step, weights=truth, minlength=POINTS + 1)
    precision = np.cumsum(hits) / np.maximum(1, np.cumsum(items))
    return float(np.sum(precision * hits) / positives)


def average_loss(scores: np.ndarray, truth: np.ndarray) -> float:
    """Binary cross-entropy summed over the classes, averaged over the clips; 1e-5 is added
    before each logarithm, as the YouTube-8M code does."""
    p = scores.astype(np.float64)
    return float(-np.log(np.where(truth, p, 1.0 - p) + LEAST).sum(axis=1).mean())


def average_precisions(scores: np.ndarray, truth: np.ndarray) -> list[float]:
    """`average_precision` of every class that any clip has."""
    classes = np.flatnonzero(truth.any(axis=0))
    return [average_precision(scores[:, c], truth[:, c]) for c in classes]


def average_precision(scores: np.ndarray, truth: np.ndarray) -> float:
    """Precision at each distinct score, weighted by the recall gained there; NaN without a
    positive. ``(n,)`` both."""
    order = np.argsort(-scores, kind="stable")
    ranked, s = truth[order], scores[order]
    ends = np.append(np.flatnonzero(np.diff(s)), len(s) - 1)
    hits = np.cumsum(ranked)[ends].astype(np.float64)
    if not hits[-1]:
        return float("nan")
    gained = np.diff(hits, prepend=0.0) / hits[-1]
    return float(np.sum(gained * hits / (ends + 1)))


def find_best_f1(scores: np.ndarray, truth: np.ndarray) -> tuple[float, float, float]:
    """The threshold of the highest F1, and the precision and recall there; 0.5 and zeros where
    nothing is true. ``(n,)`` both."""
    order = np.argsort(-scores, kind="stable")
    ranked, s = truth[order], scores[order]
    if not ranked.any():
        return 0.5, 0.0, 0.0
    ends = np.append(np.flatnonzero(np.diff(s)), len(s) - 1)
    hits = np.cumsum(ranked)[ends]
    precision, recall = hits / (ends + 1), hits / hits[-1]
    best = int(np.argmax(2 * hits / (ends + 1 + hits[-1])))
    return float(s[ends[best]]), float(precision[best]), float(recall[best])


def compute_ranking_metrics(scores: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """Macro AUC over the classes with positives and negatives, and its d' = sqrt(2) z(AUC)."""
    each = [
        roc_auc(scores[:, c], truth[:, c])
        for c in range(truth.shape[1])
        if 0 < truth[:, c].sum() < len(truth)
    ]
    auc = float(np.mean(each)) if each else float("nan")
    return {"auc": auc, "d_prime": float(np.sqrt(2.0) * norm.ppf(auc))}


def roc_auc(scores: np.ndarray, truth: np.ndarray) -> float:
    """The area under the ROC curve, by the rank sum of Mann and Whitney, ties half."""
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    ranks = (last - (counts - 1) / 2.0)[inverse]
    positive = int(truth.sum())
    low = positive * (positive + 1) / 2.0
    return float((ranks[truth].sum() - low) / (positive * (len(truth) - positive)))
