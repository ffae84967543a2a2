"""What an event is called in an edit, whatever the form."""

from __future__ import annotations

from streamdet.detection.event import Event


def event_span_s(event: Event) -> tuple[float, float]:
    """Its onset and end in seconds of the file."""
    d, rate = event.detection, event.sample_rate
    return d.onset / rate, (d.onset if d.offset is None else d.offset) / rate


def marker_text(event: Event) -> str:
    """``gunshot, 3 rounds, 0.96``."""
    d = event.detection
    rounds = "1 round" if d.rounds == 1 else f"{d.rounds} rounds"
    return f"gunshot, {rounds}, {d.score:.2f}"
