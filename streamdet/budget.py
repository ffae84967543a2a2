"""Budgets of false alarms, such as 1/day."""

from __future__ import annotations

import math
import re

_UNITS = {
    "hour": 3_600.0, "h": 3_600.0, "day": 86_400.0, "d": 86_400.0,
    "week": 604_800.0, "w": 604_800.0,
}  # fmt: skip


def parse_budget(text: str) -> float:
    """Events per second of ``1/day``, ``2/h`` or ``0.5/week``.

    The number is positive; the unit is hour, h, day, d, week or w. Raises ValueError.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*/\s*([A-Za-z]+)\s*", text, re.ASCII)
    unit = _UNITS.get(match[2].lower()) if match else None
    number = float(match[1]) if match else 0.0
    if unit is None or not 0.0 < number < math.inf:
        raise ValueError(f"{text!r} is not a budget of false alarms. Use 1/day, 2/h or 0.5/week")
    return number / unit
