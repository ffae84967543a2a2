"""Schedules of sources: hours of the week in local time."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, time, timedelta

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


@dataclass(frozen=True)
class ActiveHours:
    """The hours from ``start`` until ``end`` on some days of the week (0 is Monday).

    If the end is not later than the start, the hours pass midnight, and ``days`` are the days on
    which they start.
    """

    days: frozenset[int]
    start: time
    end: time

    def contains(self, at: datetime) -> bool:
        """Whether a local time is within these hours."""
        now, day = at.time(), at.weekday()
        if self.start < self.end:
            return day in self.days and self.start <= now < self.end
        previous = (at - timedelta(days=1)).weekday()
        return (day in self.days and now >= self.start) or (
            previous in self.days and now < self.end
        )


def parse_hours(text: str) -> ActiveHours:
    """Parse ``08:00-18:00``, ``Mon-Fri 08:00-18:00`` or ``Sat,Sun 22:00-06:00``.

    Raises ValueError.
    """
    match = re.fullmatch(r"(?:([A-Za-z,-]+)\s+)?(\d\d:\d\d)-(\d\d:\d\d)", text.strip())
    if match is None:
        raise ValueError(f"invalid hours {text!r}; write 08:00-18:00 or Mon-Fri 08:00-18:00")
    days, start, end = match.groups()
    active_days = frozenset(range(7)) if days is None else _parse_days(days)
    return ActiveHours(active_days, _parse_time(start), _parse_time(end))


def is_active(schedule: tuple[ActiveHours, ...], at: datetime) -> bool:
    """Whether a source with this schedule is active at a local time. Without a schedule, always."""
    return not schedule or any(hours.contains(at) for hours in schedule)


def _parse_days(text: str) -> frozenset[int]:
    days: set[int] = set()
    for part in text.lower().split(","):
        first, dash, last = part.partition("-")
        if first not in DAYS or (dash and last not in DAYS):
            raise ValueError(f"unknown day {part!r}; use {', '.join(DAYS)}")
        start, end = DAYS.index(first), DAYS.index(last or first)
        days.update((start + i) % 7 for i in range((end - start) % 7 + 1))
    return frozenset(days)


def _parse_time(text: str) -> time:
    if text == "24:00":
        return time(0, 0)
    try:
        return time.fromisoformat(text)
    except ValueError as error:
        raise ValueError(f"invalid time {text}; use 00:00 to 24:00") from error
