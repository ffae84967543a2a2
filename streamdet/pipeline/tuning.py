"""What recordings of a place tell about thresholds: the cost of each budget of false alarms."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from streamdet.detection import background, rate_interval
from streamdet.detection.adaptive_threshold import budget_threshold
from streamdet.detection.background import BackgroundConfig
from streamdet.detection.false_alarm_rate import expected_per_day
from streamdet.detection.rate_interval import Parts, RateInterval
from streamdet.pipeline.budget_threshold import BudgetSetup
from streamdet.pipeline.recorded_background import RecordedBackground


class Estimate(NamedTuple):
    """A value with the limits of its 95 % interval."""

    value: float
    low: float
    high: float


class BudgetCost(NamedTuple):
    """A budget in events per second and its ``threshold`` as a probability.

    At that threshold, so many false alarms ``per_day`` are expected, so many were ``observed`` in
    the recordings, and so many of the labelled shots are ``found``.
    """

    budget: float
    threshold: Estimate
    per_day: Estimate
    observed: int
    found: int


@dataclass(frozen=True)
class Tuning:
    """The false alarm rates of recordings, for the scores of one bundle.

    ``setup``: its ``budget`` is not used. ``config`` forgets nothing. ``parts``: the background.
    ``shot_scores`` (n,): the highest score within each labelled shot.
    """

    setup: BudgetSetup
    config: BackgroundConfig
    parts: Parts
    shot_scores: np.ndarray
    interval: RateInterval

    @property
    def hours(self) -> float:
        """The length of the background."""
        return float(self.parts.seconds.sum()) / 3_600.0

    def observed(self) -> np.ndarray:
        """The false alarms in the recordings above each level, (COUNT,) float64."""
        return np.maximum.accumulate(self.parts.starts.sum(axis=0)[::-1])[::-1]

    def cost(self, budget: float) -> BudgetCost:
        """What a budget in events per second costs. A larger one never has a higher threshold."""
        config, known = replace(self.setup.config, budget=budget), self.interval
        curves = known.median, known.low, known.high
        threshold = Estimate(*(budget_threshold(config, curve) for curve in curves))
        per_day = Estimate(*(expected_per_day(curve, threshold.value) for curve in curves))
        at = float(background.logit(threshold.value))
        level = round((at - background.LOWEST) / background.STEP)
        return BudgetCost(
            budget,
            threshold,
            per_day,
            round(float(self.observed()[level])),
            int(np.count_nonzero(self.shot_scores >= threshold.value)),
        )

    def hours_needed(self, cost: BudgetCost) -> float:
        """Hours of such recordings from which the false alarms a day at the budget's threshold are
        known within a factor of two."""
        tail = self.setup.config.tail
        return rate_interval.hours_needed(self.config, tail, self.interval, cost.threshold.value)


def tune(setup: BudgetSetup, recorded: RecordedBackground) -> Tuning:
    """Estimate the rates of recordings."""
    parts, tail = recorded.parts(), setup.config.tail
    interval = rate_interval.estimate_interval(recorded.config, tail, parts)
    return Tuning(setup, recorded.config, parts, recorded.shot_scores(), interval)
