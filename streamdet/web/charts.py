"""The numbers of the pages' pictures: pure functions from rows to what a template draws."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from streamdet.store.reader import StoredEvent

SLOT_S = 600
SLOTS = 86_400 // SLOT_S


@dataclass(frozen=True)
class TimelineSlot:
    """Ten minutes of a source's day: ``since_s`` UTC, how many events, how many of them true and
    false; ``height`` from 0 to 1."""

    index: int
    since_s: int
    events: int
    true: int
    false: int
    height: float

    @property
    def kind(self) -> str:
        """What most of them are, in a word."""
        if self.true and self.true >= self.false:
            return "true"
        return "false" if self.false else "open"


def lanes(
    counts: Iterable[tuple[str, int, int, int, int]], day: date
) -> dict[str, list[TimelineSlot]]:
    """A day's timeline, (source, slot, events, true, false) each: by source, those with most first;
    heights are square roots, so that one event is seen beside a hundred."""
    rows = list(counts)
    most = max((row[2] for row in rows), default=1)
    start = int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())
    found: dict[str, list[TimelineSlot]] = defaultdict(list)
    for source, slot, events, true, false in rows:
        at, height = start + slot * SLOT_S, (events / most) ** 0.5
        found[source].append(TimelineSlot(slot, at, events, true, false, height))
    by_count = sorted(found.items(), key=lambda item: -sum(slot.events for slot in item[1]))
    return dict(by_count)


@dataclass(frozen=True)
class DayPrecision:
    """A day of the precision chart; ``precision`` is None where nobody said anything."""

    date: date
    events: int
    true: int
    false: int

    @property
    def reviewed(self) -> int:
        """Called true or false."""
        return self.true + self.false

    @property
    def precision(self) -> float | None:
        """The share that is true."""
        return self.true / self.reviewed if self.reviewed else None


def daily(rows: Iterable[tuple[int, int, int, int]], last: date, days: int) -> list[DayPrecision]:
    """So many days up to ``last``, oldest first, those without events too."""
    found = {date(1970, 1, 1) + timedelta(days=row[0]): row[1:] for row in rows}
    dates = [last - timedelta(days=back) for back in range(days - 1, -1, -1)]
    return [DayPrecision(each, *found.get(each, (0, 0, 0))) for each in dates]


@dataclass(frozen=True)
class CurvePlot:
    """A score curve as an SVG polyline over a box of 100 by 100, and where in it are the
    threshold (from the top) and the onset (from the left)."""

    points: str
    threshold: float
    onset: float
    first_s: float
    last_s: float


def curve(stored: StoredEvent) -> CurvePlot | None:
    """An event's score curve, or None where none is kept."""
    if len(stored.curve) < 2:
        return None
    first, last = stored.curve[0][0], stored.curve[-1][0]
    span = max(1e-6, last - first)
    points = " ".join(
        f"{100 * (at - first) / span:.2f},{100 * (1 - score):.2f}" for at, score in stored.curve
    )
    threshold = 100 * (1 - stored.event.detection.threshold)
    return CurvePlot(points, threshold, 100 * (0.0 - first) / span, first, last)


@dataclass(frozen=True)
class ThresholdSplit:
    """What a threshold would have kept and dropped: of all, of the true, of the false."""

    threshold: float
    kept: tuple[int, int, int]
    dropped: tuple[int, int, int]


def split_at_threshold(
    bins: Sequence[tuple[float, int, int, int]], threshold: float
) -> ThresholdSplit:
    """Over `Reader.scores`' bins: those that begin at the threshold or above are kept."""

    def sums(rows: list[tuple[float, int, int, int]]) -> tuple[int, int, int]:
        true, false = sum(r[1] for r in rows), sum(r[2] for r in rows)
        return true + false + sum(r[3] for r in rows), true, false

    above = [r for r in bins if r[0] >= threshold - 1e-9]
    return ThresholdSplit(
        threshold, sums(above), sums([r for r in bins if r[0] < threshold - 1e-9])
    )
