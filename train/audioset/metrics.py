"""Metrics of clip tagging: those of the YouTube-8M evaluation, and those in use today.

Unless stated otherwise, ``scores`` is (clips, classes) float in [0, 1] and ``truth`` is (clips,
classes) bool. Hit@1, PERR, GAP and MAP are those of Abu-El-Haija et al. (*YouTube-8M*, 2016), as
its evaluation code computes them: only the 20 highest scores of a clip count, recall is relative to
all positives, and average precision uses 1,000 thresholds. Macro mAP and AUC use all scores. d' is
the AUC as the distance of two normal distributions (Hershey et al., ICASSP 2017).
"""

from __future__ import annotations

import numpy as np
from scipy.stats import norm

from train.ranking import average_precision, roc_auc

TOP = 20
POINTS = 1_000
LOG_OFFSET = 1e-5


def compute_metrics(
    scores: np.ndarray, truth: np.ndarray, gunshots: tuple[int, ...] = ()
) -> dict[str, float]:
    """Compute every metric, by its JSON name; gunshot metrics need the indices ``gunshots``."""
    top = mark_top_scores(scores)
    metrics = {
        "clips": len(scores),
        "hit_at_1": hit_at_1(scores, truth),
        "perr": perr(scores, truth),
        "map": mean_average_precision(scores, truth, top),
        "gap": interpolated_ap(scores[top], truth[top], int(truth.sum())),
        "avg_loss": average_loss(scores, truth),
        "macro_map": float(np.mean(average_precisions(scores, truth))),
        **compute_ranking_metrics(scores, truth),
    }
    if gunshots:
        columns = list(gunshots)
        any_gunshot = np.asarray(truth[:, columns].any(axis=1))
        metrics["ap_any_gunshot"] = average_precision(scores[:, columns].max(axis=1), any_gunshot)
    return metrics


def hit_at_1(scores: np.ndarray, truth: np.ndarray) -> float:
    """The share of clips whose highest score belongs to one of their classes."""
    return float(truth[np.arange(len(scores)), scores.argmax(axis=1)].mean())


def perr(scores: np.ndarray, truth: np.ndarray) -> float:
    """Precision at equal recall rate.

    For a clip with k classes, it is the share of its k highest scores that belong to its classes,
    averaged over the clips with any class. A score of 0 is never a hit.
    """
    order = np.argsort(-scores, axis=1, kind="stable")
    count = truth.sum(axis=1)
    inside = np.arange(scores.shape[1]) < count[:, None]
    correct = np.take_along_axis(truth & (scores > 0.0), order, axis=1) & inside
    labelled = count > 0
    return float((correct.sum(axis=1)[labelled] / count[labelled]).mean())


def mark_top_scores(scores: np.ndarray, top: int = TOP) -> np.ndarray:
    """Mark the ``top`` highest scores of each clip, (clips, classes) bool."""
    marked = np.zeros(scores.shape, bool)
    top = min(top, scores.shape[1])
    highest = np.argpartition(-scores, top - 1, axis=1)[:, :top]
    np.put_along_axis(marked, highest, True, axis=1)
    return marked


def mean_average_precision(scores: np.ndarray, truth: np.ndarray, counted: np.ndarray) -> float:
    """The mean of `interpolated_ap` over the classes that any clip has.

    Only the scores that ``counted``, (clips, classes) bool, marks are used.
    """
    each = [
        interpolated_ap(scores[counted[:, c], c], truth[counted[:, c], c], int(truth[:, c].sum()))
        for c in np.flatnonzero(truth.any(axis=0))
    ]
    return float(np.mean(each))


def interpolated_ap(scores: np.ndarray, truth: np.ndarray, positives: int) -> float:
    """Average precision at 1,000 even thresholds in [0, 1], of ``(n,)`` scores and truth.

    It is the sum over the thresholds of the precision times the gain in recall; recall is relative
    to ``positives``.
    """
    if not positives or not len(scores):
        return 0.0
    step = np.ceil((1.0 - scores.astype(np.float64)) * POINTS - 1e-9).astype(int)
    items = np.bincount(step, minlength=POINTS + 1)
    hits = np.bincount(step, weights=truth, minlength=POINTS + 1)
    precision = np.cumsum(hits) / np.maximum(1, np.cumsum(items))
    return float(np.sum(precision * hits) / positives)


def average_loss(scores: np.ndarray, truth: np.ndarray) -> float:
    """Binary cross-entropy, summed over the classes and averaged over the clips.

    1e-5 is added before each logarithm, as in the YouTube-8M code.
    """
    p = scores.astype(np.float64)
    return float(-np.log(np.where(truth, p, 1.0 - p) + LOG_OFFSET).sum(axis=1).mean())


def average_precisions(scores: np.ndarray, truth: np.ndarray) -> list[float]:
    """The `average_precision` of every class that any clip has."""
    classes = np.flatnonzero(truth.any(axis=0))
    return [average_precision(scores[:, c], truth[:, c]) for c in classes]


def find_best_f1(scores: np.ndarray, truth: np.ndarray) -> tuple[float, float, float]:
    """Find the threshold of the highest F1: (threshold, precision, recall), of ``(n,)`` arrays.

    Returns (0.5, 0, 0) if there is no positive.
    """
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
    """Compute the macro AUC over classes with both truths, and its d' = sqrt(2) z(AUC)."""
    each = [
        roc_auc(scores[:, c], truth[:, c])
        for c in range(truth.shape[1])
        if 0 < truth[:, c].sum() < len(truth)
    ]
    auc = float(np.mean(each)) if each else float("nan")
    return {"auc": auc, "d_prime": float(np.sqrt(2.0) * norm.ppf(auc))}
