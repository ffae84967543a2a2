"""The data of a report or a plot: the score over a file, and its events."""

from __future__ import annotations

from dataclasses import dataclass

from streamdet.detection.event import Event
from streamdet.model.spectrogram import Spectrogram


@dataclass(frozen=True)
class ReportedEvent:
    """An event in a report.

    ``spectrogram`` is None if pictures are off or the file cannot be read again. ``excerpt`` is
    the event as FLAC, or None if excerpts are off.
    """

    event: Event
    spectrogram: Spectrogram | None
    excerpt: bytes | None


@dataclass(frozen=True)
class FileOverview:
    """A file in a report.

    Attributes:
        name: The path of the file.
        seconds: The length that was analysed.
        step_s: The step of the curve in seconds.
        curve: The highest gunshot score of each step.
        threshold: The threshold of the events.
        events: The events, in order.
        fault: Why the file could not be read to its end; empty if it was.
    """

    name: str
    seconds: float
    step_s: float
    curve: list[float]
    threshold: float
    events: list[ReportedEvent]
    fault: str = ""


def tick_times(seconds: float) -> list[float]:
    """Return about six round times, in seconds, for the axis of a file of this length."""
    steps = (1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1_200, 1_800, 3_600, 7_200, 14_400, 43_200)
    step = next((s for s in steps if seconds / s <= 7), 86_400)
    return [float(time) for time in range(0, int(seconds) + 1, step)]
