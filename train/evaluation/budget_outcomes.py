"""What a threshold or a budget gives in a stream: false alarms with their interval, and shots."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from scipy.stats import chi2

from train.data.mixtures import MixtureEvent
from train.evaluation.metrics import Alarm, match_events
from train.evaluation.stream_scores import ScoredStream

HOUR_S = 3_600.0


@dataclass(frozen=True)
class Outcome:
    """What one setting finds in ``seconds`` of audio.

    ``budget`` is in events per second, None if the setting has none for this place. ``thresholds``:
    the lowest and the highest in force. ``found``: (found, all) shots by EBR in dB, or by distance.
    """

    setting: str
    budget: float | None
    thresholds: tuple[float, float]
    false_alarms: int
    seconds: float
    found: dict[str, tuple[int, int]]

    @property
    def rate_h(self) -> float:
        """False alarms per hour."""
        return self.false_alarms * HOUR_S / self.seconds

    @property
    def interval_h(self) -> tuple[float, float]:
        """The 95 % interval of the false alarms per hour."""
        low, high = poisson_interval(self.false_alarms)
        return low * HOUR_S / self.seconds, high * HOUR_S / self.seconds

    @property
    def verdict(self) -> str:
        """Whether the rate is within a factor of two of the budget: ``yes``; ``more`` or ``fewer``
        if the whole interval is outside; ``too short`` if only the rate is outside."""
        if self.budget is None:
            return ""
        low, high = (x * HOUR_S * self.budget for x in (0.5, 2.0))
        if low <= self.rate_h <= high:
            return "yes"
        if self.interval_h[0] > high:
            return "more"
        return "fewer" if self.interval_h[1] < low else "too short"


def poisson_interval(count: int) -> tuple[float, float]:
    """The exact 95 % interval of the mean of a Poisson count."""
    low = 0.0 if count == 0 else float(chi2.ppf(0.025, 2 * count)) / 2.0
    return low, float(chi2.ppf(0.975, 2 * count + 2)) / 2.0


def count_outcome(
    setting: str,
    budget: float | None,
    alarms: Sequence[Alarm],
    thresholds: Sequence[float],
    stream: ScoredStream,
    span: tuple[float, float] = (0.0, math.inf),
) -> Outcome:
    """Count the false alarms and the found shots of a stream, or of the seconds in ``span``."""
    hits, _ = match_events(alarms, stream.spans)
    false = [a for a in alarms if span[0] <= a[0] < span[1] and match_events([a], stream.spans)[1]]
    truth = zip(stream.truth, hits, strict=True)
    seconds = min(span[1], stream.seconds) - span[0]
    return Outcome(
        setting, budget, (min(thresholds), max(thresholds)), len(false), seconds,
        count_found([(e, hit) for e, hit in truth if span[0] <= e.onset_s < span[1]]),
    )  # fmt: skip


def count_found(events: Sequence[tuple[MixtureEvent, bool]]) -> dict[str, tuple[int, int]]:
    """(found, all) events by EBR, in ascending order."""
    found: dict[float, tuple[int, int]] = {}
    for event, hit in sorted(events, key=lambda each: each[0].ebr_db or 0.0):
        hits, count = found.get(event.ebr_db or 0.0, (0, 0))
        found[event.ebr_db or 0.0] = (hits + hit, count + 1)
    return {f"{ebr_db:g}": counts for ebr_db, counts in found.items()}


def sum_outcomes(by_place: Sequence[Sequence[Outcome]]) -> list[Outcome]:
    """The outcomes of all places together, setting by setting."""
    return [_sum_setting(outcomes) for outcomes in zip(*by_place, strict=True)]


def _sum_setting(outcomes: Sequence[Outcome]) -> Outcome:
    found: dict[str, tuple[int, int]] = {}
    for name, (hits, count) in (pair for o in outcomes for pair in o.found.items()):
        before = found.get(name, (0, 0))
        found[name] = (before[0] + hits, before[1] + count)
    return Outcome(
        outcomes[0].setting, outcomes[0].budget,
        (min(o.thresholds[0] for o in outcomes), max(o.thresholds[1] for o in outcomes)),
        sum(o.false_alarms for o in outcomes), sum(o.seconds for o in outcomes), found,
    )  # fmt: skip
