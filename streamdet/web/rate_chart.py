"""The chart of a source's background: false alarms per day above each score.

Both axes are in percent of the chart's width and height. The score axis is linear in logits, the
other in the logarithm of events per day.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from streamdet.detection import background
from streamdet.detection.adaptive_threshold import ThresholdState
from streamdet.detection.background import logit, sigmoid
from streamdet.detection.false_alarm_rate import DAY_S, expected_per_day
from streamdet.pipeline.budget_threshold import BudgetSetup, BudgetThreshold

LEFT, RIGHT = -7.6, 10.0
"""The ends of the score axis, as logits."""
_TOP, _BOTTOM = 50_000.0, 0.002
_SCORE_TICKS = (0.001, 0.01, 0.1, 0.5, 0.9, 0.99, 0.999, 0.9999)
_RATE_TICKS = (
    (14_400.0, "10 a minute"), (1_440.0, "1 a minute"), (24.0, "1 an hour"), (1.0, "1 a day"),
    (1 / 7, "1 a week"), (1 / 30, "1 a month"), (1 / 365, "1 a year"),
)  # fmt: skip
_LEAST_EVENTS, _LEAST_S = 0.5, 60.0
"""Observed rates are drawn where so many events are left of so many seconds."""


@dataclass(frozen=True)
class Background:
    """What is known of a daemon's source at one time."""

    setup: BudgetSetup
    state: ThresholdState

    @classmethod
    def of(cls, budget: BudgetThreshold) -> Background:
        """The background of a source, from any thread."""
        return cls(budget.setup, budget.state)

    @property
    def own_s(self) -> float:
        """Seconds of the source's own audio that count."""
        return self.state.background.seconds

    @property
    def prior_s(self) -> float:
        """Seconds that the bundle's background counts as."""
        return max(0.0, float(self.state.background.exposure[0]) - self.own_s)


@dataclass(frozen=True)
class RateChart:
    """False alarms per day above each score, as points of SVG polylines and polygons.

    ``observed`` is the outline of the counted events. ``estimate`` is the curve that thresholds
    follow from; its tail starts at ``tail_x``, None without one. ``prior`` is the bundle's
    background. ``budget_y`` is None for a fixed threshold.
    """

    observed: str
    estimate: str
    prior: str
    tail_x: float | None
    tail_y: float
    budget_y: float | None


def plot_rates(known: Background) -> RateChart:
    """Plot the background of a source."""
    state, config = known.state, known.setup.config
    levels = background.levels()
    prior = known.setup.prior.rates
    # the prior is part of the counts and of the exposure
    starts = np.maximum(state.background.starts - known.prior_s * prior, 0.0)
    starts = np.maximum.accumulate(starts[::-1])[::-1]  # at a low threshold, all is one event
    exposure = state.background.exposure - known.prior_s
    seen = (starts >= _LEAST_EVENTS) & (exposure >= _LEAST_S)
    observed = [
        (at + width, DAY_S * starts[i] / exposure[i])
        for i, at in enumerate(levels)
        if seen[i]
        for width in (0.0, background.STEP)
    ]
    tail = state.curve.tail
    return RateChart(
        _points([(observed[0][0], 0.0), *observed, (observed[-1][0], 0.0)] if observed else []),
        _points(list(zip(levels, DAY_S * state.curve.rates, strict=True))),
        _points(list(zip(levels, DAY_S * prior, strict=True))),
        None if tail is None else score_x(sigmoid(tail.start)),
        0.0 if tail is None else rate_y(expected_per_day(state.curve, sigmoid(tail.start))),
        None if config.fixed else rate_y(DAY_S * config.budget),
    )


def score_ticks() -> list[tuple[float, str]]:
    """The ticks of the score axis: place in percent, and text."""
    return [(score_x(score), f"{score:g}") for score in _SCORE_TICKS]


def rate_ticks() -> list[tuple[float, str]]:
    """The ticks of the axis of rates: place in percent from the top, and text."""
    return [(rate_y(rate), text) for rate, text in _RATE_TICKS]


def score_x(score: float) -> float:
    """The place of a score from the left, in percent."""
    x = 100.0 * (float(logit(score)) - LEFT) / (RIGHT - LEFT)
    return min(100.0, max(0.0, x))


def rate_y(per_day: float) -> float:
    """The place of a rate from the top, in percent. Above 100 if it is below the chart."""
    return 100.0 * math.log(_TOP / max(per_day, 1e-6)) / math.log(_TOP / _BOTTOM)


def _points(curve: Sequence[tuple[float, float]]) -> str:
    """(logit, events per day) pairs as points of SVG."""
    scale = 100.0 / (RIGHT - LEFT)
    return " ".join(f"{scale * (at - LEFT):.2f},{rate_y(rate):.2f}" for at, rate in curve)
