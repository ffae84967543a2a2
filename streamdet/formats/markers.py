"""The text of an event's marker, the same in every format."""

from __future__ import annotations

from streamdet.detection.event import Event


def marker_text(event: Event) -> str:
    """Return a text such as ``gunshot, 3 rounds, 0.96``."""
    d = event.detection
    rounds = "1 round" if d.rounds == 1 else f"{d.rounds} rounds"
    return f"gunshot, {rounds}, {d.score:.2f}"
