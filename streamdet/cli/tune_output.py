"""What `tune` prints and writes: a table, JSON, lines of the configuration, a plot."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from streamdet.budget import parse_budget
from streamdet.cli.errors import CommandError
from streamdet.detection import background
from streamdet.detection.false_alarm_rate import DAY_S
from streamdet.pipeline.tuning import BudgetCost, Estimate, Tuning

if TYPE_CHECKING:
    from streamdet.detection.event import ModelId

_OTHER_BUDGETS = ("6/hour", "1/hour", "1/day", "1/week")
_INTERVAL = 0.95


class TuneReport:
    """The result of a ``tuning`` for a ``budget`` such as 1/day.

    ``labelled``: whether the shots of the recordings are labelled.
    """

    def __init__(
        self, tuning: Tuning, budget: str, file_count: int, model: ModelId, *, labelled: bool
    ) -> None:
        self.tuning, self.budget, self.labelled = tuning, budget, labelled
        self.cost = tuning.cost(parse_budget(budget))
        recordings = "1 recording" if file_count == 1 else f"{file_count} recordings"
        self._file_count, self._model = file_count, f"{model.name}/{model.version}"
        self._recordings = f"{_hours(tuning.hours)} of background in {recordings}"

    @cached_property
    def hours_needed(self) -> float:
        """Hours of recordings for an interval of a factor of two."""
        return self.tuning.hours_needed(self.cost)

    def costs(self) -> dict[str, BudgetCost]:
        """The budget and others to compare, the largest first."""
        rows = {self.budget: self.cost}
        for name in _OTHER_BUDGETS:
            cost = self.tuning.cost(parse_budget(name))
            if cost.budget != self.cost.budget:
                rows[name] = cost
        return dict(sorted(rows.items(), key=lambda row: -row[1].budget))

    def toml(self) -> str:
        """The lines for the configuration, with the fixed threshold as a comment."""
        threshold, per_day = self.cost.threshold, self.cost.per_day
        return (
            f"# streamdet tune: {self._recordings}, model {self._model}\n"
            f"# 95 % interval: threshold {threshold.low:.4f} to {threshold.high:.4f}, "
            f"{_rate(per_day.low)} to {_rate(per_day.high)} false alarms a day\n"
            f'false_alarms = "{self.budget}"\n'
            f"# threshold = {threshold.value:.4f}\n"
        )

    def text(self) -> str:
        """The table and what it says of the budget, then the lines for the configuration."""
        table = _align([self._head(), *(self._row(*row) for row in self.costs().items())])
        events, level = self._tail_events()
        needed, hours = _hours(self.hours_needed), _hours(self.tuning.hours)
        return (
            f"{self._recordings}, {events} events above {level:.4f}, "
            f"dispersion {self.tuning.interval.dispersion:.1f}\n\n{table}\n\n"
            f"{self.budget}: threshold {self.cost.threshold.value:.4f}. To know its false alarms "
            f"within a factor of two,\n"
            f"about {needed} of such recordings are needed. These are {hours}.\n\n"
            f"{self.toml()}"
        )

    def record(self) -> dict[str, Any]:
        """All of it as a JSON object."""
        events, level = self._tail_events()
        known, tail = self.tuning.interval, self.tuning.interval.median.tail
        return {
            "model": self._model,
            "recordings": self._file_count,
            "hours": round(self.tuning.hours, 4),
            "events": events,
            "events_above": round(level, 6),
            "dispersion": round(known.dispersion, 3),
            "tail": None if tail is None else tail._asdict(),
            "interval": _INTERVAL,
            "hours_for_factor_two": float(f"{self.hours_needed:.3g}"),
            "shots": len(self.tuning.shot_scores) if self.labelled else None,
            **self._cost_record(self.budget, self.cost),
            "budgets": [self._cost_record(*row) for row in self.costs().items()],
            "curve": self._curve_record(),
            "toml": self.toml(),
        }

    def draw_plot(self, path: Path) -> None:
        """Write the plot. Raises CommandError."""
        from streamdet.report.tuning_plot import draw_rates

        try:
            draw_rates(self.tuning, self.cost, self.budget, path)
        except OSError as error:
            raise CommandError(f"--plot {path}: {error.strerror}") from error

    def _tail_events(self) -> tuple[int, float]:
        """The number of events that the tail was fitted to, and the probability it starts at."""
        tail = self.tuning.interval.median.tail
        start = background.LOWEST if tail is None else tail.start
        level = round((start - background.LOWEST) / background.STEP)
        return round(float(self.tuning.observed()[level])), background.sigmoid(start)

    def _head(self) -> tuple[str, ...]:
        head = ("budget", "threshold", "95 % interval", "per day", "95 % interval", "observed")
        return (*head, "recall") if self.labelled else head

    def _row(self, name: str, cost: BudgetCost) -> tuple[str, ...]:
        threshold, per_day = cost.threshold, cost.per_day
        row = (
            name,
            f"{threshold.value:.4f}",
            f"{threshold.low:.4f} to {threshold.high:.4f}",
            _rate(per_day.value),
            f"{_rate(per_day.low)} to {_rate(per_day.high)}",
            str(cost.observed),
        )
        if not self.labelled:
            return row
        recall = self._recall(cost)
        return (*row, "-" if recall is None else f"{recall:.2f}")

    def _recall(self, cost: BudgetCost) -> float | None:
        shots = len(self.tuning.shot_scores)
        return cost.found / shots if shots else None

    def _cost_record(self, name: str, cost: BudgetCost) -> dict[str, Any]:
        record: dict[str, Any] = {
            "budget": name,
            "threshold": round(cost.threshold.value, 6),
            "threshold_interval": _limits(cost.threshold),
            "false_alarms_per_day": _significant(cost.per_day.value),
            "false_alarms_per_day_interval": _limits(cost.per_day),
            "observed": cost.observed,
        }
        if self.labelled:
            record["recall"] = self._recall(cost)
        return record

    def _curve_record(self) -> dict[str, list[float]]:
        known = self.tuning.interval
        rates = {
            "false_alarms_per_day": known.median.rates,
            "low": known.low.rates,
            "high": known.high.rates,
            "prior": self.tuning.setup.prior.rates,
        }
        return {
            "threshold": [round(background.sigmoid(x), 7) for x in background.levels().tolist()],
            **{k: [_significant(DAY_S * x) for x in v.tolist()] for k, v in rates.items()},
            "observed": self.tuning.observed().tolist(),
        }


def _align(rows: list[tuple[str, ...]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def _limits(estimate: Estimate) -> list[float]:
    return [_significant(estimate.low), _significant(estimate.high)]


def _significant(value: float) -> float:
    return float(f"{value:.5g}")


def _rate(per_day: float) -> str:
    if per_day < 0.001:
        return "<0.001"
    return f"{per_day:.0f}" if per_day >= 9.95 else f"{per_day:.2g}"


def _hours(hours: float) -> str:
    if hours >= 9.95:
        return f"{hours:,.0f} h"
    if hours >= 0.95:
        return f"{hours:.1f} h"
    return f"{60.0 * hours:.0f} min" if hours >= 0.02 else f"{3_600.0 * hours:.0f} s"
