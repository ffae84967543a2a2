"""When a source is to be heard: hours of the week in local time."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, time, timedelta

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


@dataclass(frozen=True)
class ActiveHours:
    """Some days of the week (0 is Monday) from ``start`` until ``end``; over midnight where the
    end is not later than the start, and then the days are those on which it begins."""

    days: frozenset[int]
    start: time
    end: time

    def contains(self, at: datetime) -> bool:
        """Whether a local time lies in them."""
        now, day = at.time(), at.weekday()
        if self.start < self.end:
            return day in self.days and self.start <= now < self.end
        before = (at - timedelta(days=1)).weekday()
        return (day in self.days and now >= self.start) or (before in self.days and now < self.end)


def parse_hours(text: str) -> ActiveHours:
    """``08:00-18:00``, ``Mon-Fri 08:00-18:00`` or ``Sat,Sun 22:00-06:00``; raises ValueError."""
    match = re.fullmatch(r"(?:([A-Za-z,-]+)\s+)?(\d\d:\d\d)-(\d\d:\d\d)", text.strip())
    if match is None:
        raise ValueError(f"{text!r} is no schedule; write 08:00-18:00 or Mon-Fri 08:00-18:00")
    days, start, end = match.groups()
    chosen = frozenset(range(7)) if days is None else _days(days)
    return ActiveHours(chosen, _clock(start), _clock(end))


def is_active(schedule: tuple[ActiveHours, ...], at: datetime) -> bool:
    """Whether a source of this schedule is to be heard; always, where it has none."""
    return not schedule or any(hours.contains(at) for hours in schedule)


def _days(text: str) -> frozenset[int]:
    chosen: set[int] = set()
    for part in text.lower().split(","):
        first, dash, last = part.partition("-")
        if first not in DAYS or (dash and last not in DAYS):
            raise ValueError(f"{part!r} is no day; there are {', '.join(DAYS)}")
        begin, end = DAYS.index(first), DAYS.index(last or first)
        chosen.update((begin + i) % 7 for i in range((end - begin) % 7 + 1))
    return frozenset(chosen)


def _clock(text: str) -> time:
    if text == "24:00":
        return time(0, 0)
    try:
        return time.fromisoformat(text)
    except ValueError as error:
        raise ValueError(f"{text} is no time of day") from error
