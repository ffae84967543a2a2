"""SubRip subtitles: a numbered cue for each event."""

from __future__ import annotations

from typing import TextIO

from streamdet.detection.event import Event
from streamdet.formats.markers import event_span_s, marker_text
from streamdet.formats.writer import ScoreExplanation

SHOWN_S = 1.0
"""A shot is over before it can be read: so long it is shown at least."""


class SrtWriter:
    """SubRip: a number, a span, words."""

    _point, _head = ",", ""

    def __init__(self, stream: TextIO) -> None:
        self._stream, self._count = stream, 0
        stream.write(self._head)

    def write(self, event: Event, explanation: ScoreExplanation | None = None) -> None:
        """One cue, behind an empty line."""
        del explanation
        self._count += 1
        first, last = event_span_s(event)
        span = f"{self._clock(first)} --> {self._clock(max(last, first + SHOWN_S))}"
        self._stream.write(f"{self._count}\n{span}\n{marker_text(event)}\n\n")
        self._stream.flush()

    def close(self) -> None:
        """Hand over a head that nothing followed."""
        self._stream.flush()

    def _clock(self, seconds: float) -> str:
        minutes, rest = divmod(round(seconds * 1_000), 60_000)
        hours, minutes = divmod(minutes, 60)
        return f"{hours:02d}:{minutes:02d}:{rest // 1_000:02d}{self._point}{rest % 1_000:03d}"
