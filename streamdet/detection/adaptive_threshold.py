"""The threshold that keeps a source within a budget of false alarms.

`step` adds scores to the background and moves the threshold: at most every ``interval_s``, only if
the budget's threshold differs by ``least_change`` logits or more, and never while an event is open.
So a burst is judged by one threshold. The threshold stays between a floor and a ceiling.

Pure functions; `streamdet.detection.background` and `streamdet.detection.false_alarm_rate` hold the
statistics.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from streamdet.detection import background
from streamdet.detection.background import (
    BackgroundConfig,
    BackgroundState,
    EventSpan,
    Prior,
    logit,
)
from streamdet.detection.false_alarm_rate import (
    RateCurve,
    TailConfig,
    estimate_rates,
    expected_per_day,
    threshold_for,
)


@dataclass(frozen=True)
class ThresholdConfig:
    """``budget`` is in false alarms per second, ``floor`` and ``ceiling`` are probabilities,
    ``interval_s`` is seconds of audio. If floor and ceiling are equal, the threshold is fixed, and
    the background is only observed."""

    budget: float
    background: BackgroundConfig
    tail: TailConfig = field(default_factory=TailConfig)
    floor: float = 0.01
    ceiling: float = 0.9999
    interval_s: float = 60.0
    least_change: float = 0.2

    @property
    def fixed(self) -> bool:
        """Whether the threshold does not follow from a budget."""
        return self.floor == self.ceiling


class ThresholdState(NamedTuple):
    """``threshold``: the probability in force. ``estimated``: the second of the background at which
    ``curve`` was estimated."""

    background: BackgroundState
    curve: RateCurve
    threshold: float
    estimated: int

    @property
    def expected_per_day(self) -> float:
        """The false alarms per day expected at the threshold in force."""
        return expected_per_day(self.curve, self.threshold)


def init(config: ThresholdConfig, prior: Prior | None = None) -> ThresholdState:
    """The state before the first frame."""
    return resume(config, background.init(config.background, prior))


def resume(config: ThresholdConfig, state: BackgroundState) -> ThresholdState:
    """The state with an earlier background; the threshold is chosen again."""
    curve = estimate_rates(config.background, config.tail, state)
    return ThresholdState(state, curve, budget_threshold(config, curve), state.second)


def budget_threshold(config: ThresholdConfig, curve: RateCurve) -> float:
    """The budget's threshold, between floor and ceiling."""
    return min(max(threshold_for(curve, config.budget), config.floor), config.ceiling)


def step(
    config: ThresholdConfig,
    state: ThresholdState,
    scores: np.ndarray,
    spans: Sequence[EventSpan] = (),
    *,
    event_open: bool,
) -> ThresholdState:
    """Add the ``(t,)`` final gunshot probabilities of the next frames, which the threshold in force
    was applied to, and the reported events that ended in them.

    ``event_open``: an event or a candidate is open, so the threshold stays.
    """
    known = background.step(config.background, state.background, scores, state.threshold, spans)
    state = state._replace(background=known)
    elapsed_s = (known.second - state.estimated) * config.background.second_s
    if event_open or elapsed_s < config.interval_s:
        return state
    return update(config, state)


def update(config: ThresholdConfig, state: ThresholdState) -> ThresholdState:
    """Estimate the rates now, and move the threshold if it differs enough."""
    known = state.background
    curve = estimate_rates(config.background, config.tail, known)
    threshold = budget_threshold(config, curve)
    if abs(float(logit(threshold)) - float(logit(state.threshold))) < config.least_change:
        threshold = state.threshold
    return ThresholdState(known, curve, threshold, known.second)


def finish(config: ThresholdConfig, state: ThresholdState) -> ThresholdState:
    """End the open stream, whose events are all over. The next frames begin another one."""
    return state._replace(background=background.finish(config.background, state.background))
