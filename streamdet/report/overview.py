"""What a report and a plot are made of: a file's score over its whole length, and its events."""

from __future__ import annotations

from dataclasses import dataclass

from streamdet.detection.event import Event
from streamdet.model.spectrogram import Spectrogram


@dataclass(frozen=True)
class ReportedEvent:
    """An event, its ``picture`` where the file can be read once more, and, where that was asked
    for, its sound as FLAC."""

    event: Event
    spectrogram: Spectrogram | None
    excerpt: bytes | None


@dataclass(frozen=True)
class FileOverview:
    """A file of ``seconds``; ``curve`` has the highest gunshot score of each ``step_s``. ``fault``
    is a line where it could not be heard to its end."""

    name: str
    seconds: float
    step_s: float
    curve: list[float]
    threshold: float
    events: list[ReportedEvent]
    fault: str = ""


def tick_times(seconds: float) -> list[float]:
    """Some six round times of a file."""
    steps = (1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1_200, 1_800, 3_600, 7_200, 14_400, 43_200)
    step = next((s for s in steps if seconds / s <= 7), 86_400)
    return [float(at) for at in range(0, int(seconds) + 1, step)]
