"""Metrics of clips scored alone: ranking, errors by label, and recall by source."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np

from train.evaluation.scored_sets import ScoredClip
from train.ranking import average_precision, roc_auc

FAR = ("field", "forest")
BOOTSTRAP_DRAWS = 500


def is_far(clip: ScoredClip) -> bool:
    """Whether a forest recorder made the clip: shots at 1 to 3 km, band-limited to 4 kHz."""
    return clip.kind in FAR


def compute_clip_metrics(clips: Sequence[ScoredClip], threshold: float) -> dict[str, Any]:
    """Compute AP and AUC with intervals, and what is confused with shots.

    ``false_at_1_percent`` counts the labels of the 1 % of other clips with the highest scores.
    ``found_by_source`` is the recall for each source of shots at ``threshold``. Intervals are
    bootstrapped by recording.
    """
    if not clips:
        return {}
    shot = np.array([c.category == "gunshot" for c in clips])
    scores = np.array([c.score for c in clips])
    out: dict[str, Any] = {
        "shots": int(shot.sum()),
        "others": int((~shot).sum()),
        "ap": round(average_precision(scores, shot), 3),
        "auc": round(roc_auc(scores, shot), 4),
        "interval": _bootstrap_intervals(clips, shot, scores),
    }
    if not shot.any() or shot.all():
        return out
    limit = np.quantile(scores[~shot], 0.99)
    out["recall_at_1_percent_false"] = round(float((scores[shot] > limit).mean()), 3)
    confused = (c.label for c, s, y in zip(clips, scores, shot, strict=True) if s > limit and not y)
    out["false_at_1_percent"] = dict(Counter(confused).most_common())
    out["found_by_source"] = _count_found_by_source(clips, threshold)
    return out


def _count_found_by_source(clips: Sequence[ScoredClip], threshold: float) -> dict[str, str]:
    counts: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for clip in clips:
        if clip.category == "gunshot":
            counts[clip.source][0] += clip.score >= threshold
            counts[clip.source][1] += 1
    return {source: f"{found}/{all_shots}" for source, (found, all_shots) in sorted(counts.items())}


def _bootstrap_intervals(
    clips: Sequence[ScoredClip], shot: np.ndarray, scores: np.ndarray
) -> dict[str, list[float]]:
    rng = np.random.default_rng(0)
    members: dict[str, list[int]] = defaultdict(list)
    for i, clip in enumerate(clips):
        members[clip.group].append(i)
    groups = [np.array(m) for m in members.values()]
    drawn = []
    for _ in range(BOOTSTRAP_DRAWS):
        sample = np.concatenate([groups[i] for i in rng.integers(len(groups), size=len(groups))])
        drawn.append(
            (
                average_precision(scores[sample], shot[sample]),
                roc_auc(scores[sample], shot[sample]),
            )
        )
    ap, auc = np.array(drawn).T
    return {
        name: [round(float(np.nanquantile(x, q)), 4) for q in (0.025, 0.975)]
        for name, x in (("ap", ap), ("auc", auc))
    }
