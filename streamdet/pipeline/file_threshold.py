"""The threshold of a file from its own background."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from streamdet.detection import adaptive_threshold, background
from streamdet.detection.background import EventSpan, logit
from streamdet.detection.false_alarm_rate import estimate_rates
from streamdet.pipeline.budget_threshold import BudgetSetup

_MAX_ROUNDS = 6
_SAME_LOGITS = 0.05
_SKIP_SHARE = 0.2


def choose_file_threshold(setup: BudgetSetup, streams: list[np.ndarray]) -> float:
    """The probability at which the false alarms of a file are within the budget.

    ``streams``: the final gunshot scores of all frames, (t,) float32, of each channel that has
    events of its own. Together they share the budget.

    The frames within the guard time of an event do not count, and what is an event depends on the
    threshold, so it is found in a few rounds from that of the prior. At most a fifth of the file is
    left out so, or what a live source leaves out. All frames weigh the same.
    """
    config = setup.shared_by(max(1, len(streams))).config
    known = config.background
    seconds = known.frame_s * sum(map(len, streams))
    skip_s = max(known.skip_s, _SKIP_SHARE * seconds)
    known = replace(known, half_life_s=math.inf, skip_s=skip_s, skip_share=0.0)
    config = replace(config, background=known)
    threshold = adaptive_threshold.init(config, setup.prior).threshold
    for _ in range(_MAX_ROUNDS):
        state = background.init(known, setup.prior)
        for scores in streams:
            spans = _event_spans(scores, threshold)
            state = background.finish(
                known, background.step(known, state, scores, threshold, spans)
            )
        before = threshold
        curve = estimate_rates(known, config.tail, state)
        threshold = adaptive_threshold.budget_threshold(config, curve)
        if abs(float(logit(threshold)) - float(logit(before))) < _SAME_LOGITS:
            break
    return threshold


def _event_spans(scores: np.ndarray, threshold: float) -> list[EventSpan]:
    """The runs of frames whose score reaches the threshold."""
    above = np.concatenate([[False], scores >= threshold, [False]])
    firsts, lasts = np.flatnonzero(np.diff(above.astype(int))).reshape(-1, 2).T
    return [
        EventSpan(int(first), int(last), float(logit(scores[first:last].max())), int(first))
        for first, last in zip(firsts, lasts, strict=True)
    ]
