"""What the page shows of a source's threshold: the background that it follows from, and the effect
of other thresholds and budgets. Pure functions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from streamdet.budget import parse_budget
from streamdet.detection.adaptive_threshold import ThresholdConfig, budget_threshold
from streamdet.detection.background import logit, sigmoid
from streamdet.detection.false_alarm_rate import DAY_S, expected_per_day
from streamdet.pipeline.budget_threshold import BudgetThreshold
from streamdet.web.charts import format_rate, format_score
from streamdet.web.rate_chart import LEFT, RIGHT, Background, RateChart, plot_rates, rate_y, score_x

ScoreCount = tuple[float, int, int, int]
"""A score, and how many stored events with it are true, false, and neither."""

_BUDGETS = ("6/hour", "1/hour", "6/day", "1/day", "1/week", "0.25/week")
_STEP = 0.1
"""Logits from one position of the slider to the next, and the width of a bar."""


@dataclass(frozen=True)
class ThresholdEffect:
    """A threshold, its place in the chart, and its effect.

    ``expected_per_day`` is None without a background. ``events``, ``true`` and ``false`` count the
    stored events that remain. ``complete`` is False if some were judged by a higher threshold, so
    that others between the two may be missing.
    """

    threshold: float
    expected_per_day: float | None
    events: int
    true: int
    false: int
    complete: bool

    @property
    def x(self) -> float:
        """The place on the score axis, in percent."""
        return score_x(self.threshold)

    @property
    def y(self) -> float:
        """The place of the expected rate, in percent from the top."""
        return rate_y(self.expected_per_day or 0.0)

    @property
    def row(self) -> list[float | str]:
        """What the script of the slider shows: the place in the chart, and texts."""
        expected = "" if self.expected_per_day is None else format_rate(self.expected_per_day)
        more = "" if self.complete else "A lower threshold would have found more."
        counts = [f"{n:,}" for n in (self.events, self.true, self.false)]
        x, y = round(self.x, 2), round(self.y, 2)
        return [x, y, format_score(self.threshold), expected, *counts, more]


@dataclass(frozen=True)
class ScoreBar:
    """The stored events in a step of the score axis. ``height`` is from 0 to 1."""

    x: float
    width: float
    events: int
    true: int
    false: int
    height: float


@dataclass(frozen=True)
class SourceThreshold:
    """The threshold of a source and what others would do.

    ``steps`` are the positions of the slider, ``position`` the one of the threshold in force.
    ``budgets`` are (budget, whether it is in force, its effect). ``chart`` and ``background`` are
    None if no daemon has the source.
    """

    source: str
    effect: ThresholdEffect
    steps: list[ThresholdEffect]
    position: int
    bars: list[ScoreBar]
    background: Background | None
    chart: RateChart | None
    budgets: list[tuple[str, bool, ThresholdEffect]]

    @property
    def budget(self) -> str | None:
        """The budget in force, None for a fixed threshold."""
        return next((text for text, in_force, _ in self.budgets if in_force), None)


def describe_threshold(
    source: str,
    threshold: float,
    known: Background | None,
    counts: Sequence[ScoreCount],
    highest: float,
) -> SourceThreshold:
    """Describe the ``threshold`` in force of a source.

    ``counts`` are its stored events, lowest score first, and ``highest`` is the highest threshold
    that they were judged by.
    """
    curve = None if known is None else known.state.curve
    needed = max(threshold, highest)
    rows = np.array(counts, np.float64).reshape(-1, 4)
    scores, numbers = rows[:, 0], rows[:, 1:].astype(int)
    sums = np.zeros((len(rows) + 1, 3), int)  # of the events from each score on
    sums[:-1] = np.cumsum(numbers[::-1], axis=0)[::-1]

    def effect(at: float) -> ThresholdEffect:
        expected = None if curve is None else expected_per_day(curve, at)
        least = round(at, 4)  # as stored scores are
        true, false, undecided = sums[np.searchsorted(scores, least)].tolist()
        complete = least >= round(needed, 4)
        return ThresholdEffect(at, expected, true + false + undecided, true, false, complete)

    in_force = float(logit(threshold))
    position = max(0, math.floor((in_force - LEFT) / _STEP))
    last = max(0, math.floor((RIGHT - in_force) / _STEP))
    others = [
        threshold if offset == 0 else sigmoid(in_force + _STEP * offset)
        for offset in range(-position, last + 1)
    ]
    budgets = []
    if known is not None:
        budgets = [(text, now, effect(at)) for text, now, at in _budget_thresholds(known)]
    return SourceThreshold(
        source,
        effect(threshold),
        [effect(at) for at in others],
        position,
        _score_bars(scores, numbers, threshold),
        known,
        None if known is None else plot_rates(known),
        budgets,
    )


def threshold_record(source: str, budget: BudgetThreshold) -> dict[str, Any]:
    """The JSON object of a daemon's source: that of `streamdet thresholds --json`, and what other
    budgets would give."""
    known = Background.of(budget)
    budgets = [
        {
            "budget": text,
            "threshold": round(threshold, 6),
            "expected_per_day": expected_per_day(known.state.curve, threshold),
        }
        for text, _, threshold in _budget_thresholds(known)
    ]
    return {"source": source, **budget.record(), "budgets": budgets}


def _budget_thresholds(known: Background) -> list[tuple[str, bool, float]]:
    """The budgets to compare, whether each is in force, and its threshold."""
    config, curve = known.setup.config, known.state.curve
    limits = {"floor": ThresholdConfig.floor, "ceiling": ThresholdConfig.ceiling}
    thresholds = {}
    budgets = {parse_budget(text): text for text in _BUDGETS}
    in_force = None
    if not config.fixed:
        same = (b for b in budgets if math.isclose(b, config.budget, rel_tol=1e-6))
        in_force = next(same, config.budget)
        budgets.setdefault(in_force, _format_budget(in_force))
        thresholds[in_force] = known.state.threshold  # hysteresis keeps it for a while
    for budget in budgets:
        asked = replace(config, budget=budget, **limits)
        thresholds.setdefault(budget, budget_threshold(asked, curve))
    return [(budgets[b], b == in_force, thresholds[b]) for b in sorted(budgets, reverse=True)]


def _format_budget(budget: float) -> str:
    """A budget in events per second as it is written in the configuration."""
    per_day = budget * DAY_S
    if per_day >= 24.0:
        return f"{per_day / 24.0:.3g}/hour"
    return f"{per_day:.3g}/day" if per_day >= 1.0 else f"{per_day * 7.0:.3g}/week"


def _score_bars(scores: np.ndarray, numbers: np.ndarray, threshold: float) -> list[ScoreBar]:
    """The histogram of (n,) scores with (n, 3) numbers of events, lowest score first.

    The threshold in force lies between two bars. Heights are square roots, so that a single event
    is visible next to a hundred.
    """
    if not len(scores):
        return []
    origin = float(logit(round(threshold, 4)))
    bins = np.floor((logit(scores) - origin) / _STEP + 1e-6).astype(int)
    indices, first = np.unique(bins, return_index=True)
    width, bars = 100.0 * _STEP / (RIGHT - LEFT), []
    sums = np.add.reduceat(numbers, first, axis=0)
    highest = int(sums.sum(axis=1).max())
    for index, (true, false, undecided) in zip(indices.tolist(), sums.tolist(), strict=True):
        x = min(score_x(sigmoid(origin + _STEP * index)), 100.0 - width)
        events = true + false + undecided
        bars.append(ScoreBar(x, width, events, true, false, (events / highest) ** 0.5))
    return bars
