"""The threshold of a file from its own background."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from streamdet.detection import adaptive_threshold, background
from streamdet.detection.false_alarm_rate import estimate_rates
from streamdet.pipeline.budget_threshold import BudgetSetup

_PRIOR_WEIGHT_S = 300.0
"""A film has more impulsive sounds than the ambience of the prior, so that counts less than in a
live source, which has time to forget it."""
_TAIL_RATE, _TAIL_SHARE = 0.1, 0.8
"""As in `TailConfig`. The tail starts low, because only background events with low scores tell how
many there are among the scores of shots."""


def choose_file_threshold(setup: BudgetSetup, streams: list[np.ndarray]) -> float:
    """The probability at which the false alarms of a file are within the budget.

    ``streams``: the final gunshot scores of all frames, (t,) float32, of each channel that has
    events of its own. Together they share the budget.

    All events of the file count, at all levels. Nobody has reviewed them, so they are taken as a
    mixture of background and shots (`streamdet.detection.false_alarm_rate`). All frames weigh the
    same.
    """
    config = setup.shared_by(max(1, len(streams))).config
    known = replace(config.background, half_life_s=math.inf, skip_s=0.0, skip_share=0.0)
    state = background.init(known, setup.prior._replace(weight_s=_PRIOR_WEIGHT_S))
    for scores in streams:
        state = background.finish(known, background.step(known, state, scores, 1.0))
    tail = replace(config.tail, rate=_TAIL_RATE, share=_TAIL_SHARE)
    curve = estimate_rates(known, tail, state, setup.shots)
    return adaptive_threshold.budget_threshold(config, curve)
