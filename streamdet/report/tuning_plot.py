"""Plots the rate of false alarms over the threshold, as PNG or SVG."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from streamdet.detection import background
from streamdet.detection.false_alarm_rate import DAY_S
from streamdet.pipeline.tuning import BudgetCost, Tuning

_TICKS = (0.001, 0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99, 0.999, 0.9999)
_PERIODS = {"1/min": 1_440.0, "6/h": 144.0, "1/h": 24.0, "1/day": 1.0, "1/week": 1.0 / 7.0}
_BELOW_BUDGET = 100.0
"""The lowest rate shown is the budget divided by this."""


def draw_rates(tuning: Tuning, cost: BudgetCost, name: str, path: Path) -> None:
    """Draw what recordings observed and what was fitted, with a budget called ``name``.

    Raises OSError.
    """
    figure = Figure(figsize=(8.0, 5.0), layout="constrained")
    _draw_axes(figure.subplots(), tuning, cost, name)
    # no date and no random ids: the same recordings make the same file
    metadata = {"Date": None} if path.suffix.lower() == ".svg" else None
    with rc_context({"svg.hashsalt": "streamdet"}):
        figure.savefig(path, dpi=120, metadata=metadata)


def _draw_axes(axis: Axes, tuning: Tuning, cost: BudgetCost, name: str) -> None:
    levels, known, budget = background.levels(), tuning.interval, cost.budget * DAY_S
    low, median, high = (DAY_S * c.rates for c in (known.low, known.median, known.high))
    axis.fill_between(
        levels, low, high, color="tab:blue", alpha=0.2, linewidth=0, label="fit, 95 % interval"
    )
    axis.plot(levels, median, color="tab:blue", label="fit")
    observed = tuning.observed()
    seen, per_day = observed >= 1.0, observed / (tuning.hours / 24.0)
    axis.plot(levels[seen], per_day[seen], "k.", markersize=3, label="observed")
    prior = DAY_S * tuning.setup.prior.rates
    axis.plot(levels, prior, color="gray", linestyle=":", label="prior of the bundle")
    axis.axhline(budget, color="tab:red", linewidth=1.0, linestyle="--", label=f"budget, {name}")
    at, first, last = (float(background.logit(value)) for value in cost.threshold)
    label = f"threshold {cost.threshold.value:.4f}"
    axis.plot([at], [cost.per_day.value], "o", color="tab:red", clip_on=False, label=label)
    axis.plot([first, last], [budget, budget], "|-", color="tab:red", linewidth=2.0,
              markersize=9, clip_on=False, label="95 % interval of the threshold")  # fmt: skip
    shown = levels >= float(background.logit(_TICKS[0]))
    axis.set_yscale("log")
    axis.set_ylim(budget / _BELOW_BUDGET, 2.0 * max(budget, high[shown].max(), prior[shown].max()))
    axis.set_xlim(*background.logit(np.array([_TICKS[0], _TICKS[-1]])))
    axis.set_xticks(background.logit(np.array(_TICKS)), [f"{tick:g}" for tick in _TICKS])
    axis.set_xlabel("threshold (probability)")
    axis.set_ylabel("false alarms a day")
    axis.set_title(f"{tuning.hours:.1f} h of background", fontsize=9, loc="left")
    axis.legend(fontsize=8, frameon=False)
    axis.grid(visible=True, alpha=0.3)
    per_period = axis.secondary_yaxis("right")
    per_period.set_yticks(list(_PERIODS.values()), list(_PERIODS), minor=False)
    per_period.minorticks_off()
