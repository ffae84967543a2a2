"""The data behind the charts of the page: pure functions from rows to what a template draws."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from streamdet.store.reader import StoredEvent

SLOT_S = 600
SLOTS = 86_400 // SLOT_S


@dataclass(frozen=True)
class TimelineSlot:
    """Ten minutes of a source's day: the start in UTC seconds, and the number of events.

    ``true`` and ``false`` count the reviewed ones among them. ``height`` is from 0 to 1.
    """

    index: int
    start_s: int
    events: int
    true: int
    false: int
    height: float

    @property
    def majority(self) -> str:
        """The most frequent verdict, "true" or "false", or "open" if no event is reviewed."""
        if self.true and self.true >= self.false:
            return "true"
        return "false" if self.false else "open"


def day_timelines(
    counts: Iterable[tuple[str, int, int, int, int]], day: date
) -> dict[str, list[TimelineSlot]]:
    """Build the timelines of a day from (source, slot, events, true, false) rows.

    Returns the slots of each source that have events; the source with the most events comes
    first. Heights are square roots, so that a single event is visible next to a hundred.
    """
    rows = list(counts)
    highest = max((row[2] for row in rows), default=1)
    day_start_s = int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())
    timelines: dict[str, list[TimelineSlot]] = defaultdict(list)
    for source, slot, events, true, false in rows:
        start_s, height = day_start_s + slot * SLOT_S, (events / highest) ** 0.5
        timelines[source].append(TimelineSlot(slot, start_s, events, true, false, height))
    return dict(sorted(timelines.items(), key=lambda item: -sum(slot.events for slot in item[1])))


@dataclass(frozen=True)
class DayPrecision:
    """A day of the precision chart."""

    date: date
    events: int
    true: int
    false: int

    @property
    def reviewed(self) -> int:
        """The number of events with the verdict true or false."""
        return self.true + self.false

    @property
    def precision(self) -> float | None:
        """The share of the reviewed events that are true; None if no event is reviewed."""
        return self.true / self.reviewed if self.reviewed else None


def precision_by_day(
    rows: Iterable[tuple[int, int, int, int]], last: date, days: int
) -> list[DayPrecision]:
    """Return the last ``days`` days up to ``last``, oldest first, including days without events.

    ``rows`` are those of `StoreReader.counts_by_day`.
    """
    counts = {date(1970, 1, 1) + timedelta(days=row[0]): row[1:] for row in rows}
    dates = [last - timedelta(days=back) for back in range(days - 1, -1, -1)]
    return [DayPrecision(day, *counts.get(day, (0, 0, 0))) for day in dates]


@dataclass(frozen=True)
class CurvePlot:
    """A score curve as an SVG polyline in a box of 100 by 100.

    ``threshold`` is measured from the top of the box, ``onset`` from its left edge. ``first_s``
    and ``last_s`` are the ends of the time axis, in seconds after the onset.
    """

    points: str
    threshold: float
    onset: float
    first_s: float
    last_s: float


def plot_curve(stored: StoredEvent) -> CurvePlot | None:
    """Return the plot of an event's score curve, or None if it has fewer than two points."""
    if len(stored.curve) < 2:
        return None
    first_s, last_s = stored.curve[0][0], stored.curve[-1][0]
    span_s = max(1e-6, last_s - first_s)
    points = " ".join(
        f"{100 * (time_s - first_s) / span_s:.2f},{100 * (1 - score):.2f}"
        for time_s, score in stored.curve
    )
    threshold = 100 * (1 - stored.event.detection.threshold)
    return CurvePlot(points, threshold, 100 * (0.0 - first_s) / span_s, first_s, last_s)


def format_score(score: float) -> str:
    """A score with two to four decimals, more where it is close to 0 or 1."""
    rest = min(score, 1.0 - score)
    decimals = 2 if rest <= 0.0 else min(4, max(2, 1 - math.floor(math.log10(rest))))
    return f"{score:.{decimals}f}"


def format_rate(per_day: float) -> str:
    """A rate with two significant digits or more."""
    if per_day < 0.001:
        return "less than 0.001"
    exponent = int(f"{per_day:.1e}".partition("e")[2])  # of the rounded rate
    return f"{per_day:,.{max(0, 1 - exponent)}f}"
