"""The figures of clips heard alone: ranking, errors by label, recall by source, far shots apart."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np

from train.evaluation import metrics
from train.evaluation.scored_sets import ScoredClip

FAR = ("field", "forest")
DRAWS = 500


def is_far(clip: ScoredClip) -> bool:
    """Whether a forest recorder made it: shots from 1 to 3 km, band-limited to 4 kHz."""
    return clip.kind in FAR


def compute_clip_metrics(clips: Sequence[ScoredClip], threshold: float) -> dict[str, Any]:
    """AP and AUC with intervals by recording; which negatives rank among the highest 1 %; the
    recall of each source of shots at ``threshold``."""
    if not clips:
        return {}
    shot = np.array([c.category == "gunshot" for c in clips])
    scores = np.array([c.score for c in clips])
    out: dict[str, Any] = {
        "shots": int(shot.sum()),
        "others": int((~shot).sum()),
        "ap": round(metrics.average_precision(shot, scores), 3),
        "auc": round(metrics.roc_auc(shot, scores), 4),
        "interval": _bootstrap_intervals(clips, shot, scores),
    }
    if not shot.any() or shot.all():
        return out
    limit = np.quantile(scores[~shot], 0.99)
    out["recall_at_1_percent_false"] = round(float((scores[shot] > limit).mean()), 3)
    worst = (c.label for c, s, y in zip(clips, scores, shot, strict=True) if s > limit and not y)
    out["false_at_1_percent"] = dict(Counter(worst).most_common())
    out["found_by_source"] = _count_found(clips, threshold, lambda c: c.source)
    return out


def _count_found(clips: Sequence[ScoredClip], threshold: float, key) -> dict[str, str]:
    counts: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for clip in clips:
        if clip.category == "gunshot":
            counts[key(clip)][0] += clip.score >= threshold
            counts[key(clip)][1] += 1
    return {name: f"{a}/{b}" for name, (a, b) in sorted(counts.items())}


def _bootstrap_intervals(
    clips: Sequence[ScoredClip], shot: np.ndarray, scores: np.ndarray
) -> dict[str, list[float]]:
    rng = np.random.default_rng(0)
    members: dict[str, list[int]] = defaultdict(list)
    for i, clip in enumerate(clips):
        members[clip.group].append(i)
    groups = [np.array(m) for m in members.values()]
    drawn = []
    for _ in range(DRAWS):
        some = np.concatenate([groups[i] for i in rng.integers(len(groups), size=len(groups))])
        drawn.append(
            (
                metrics.average_precision(shot[some], scores[some]),
                metrics.roc_auc(shot[some], scores[some]),
            )
        )
    ap, auc = np.array(drawn).T
    return {
        name: [round(float(np.nanquantile(x, q)), 4) for q in (0.025, 0.975)]
        for name, x in (("ap", ap), ("auc", auc))
    }
