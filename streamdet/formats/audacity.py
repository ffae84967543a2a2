"""Audacity label tracks: onset, end and text between tabs."""

from __future__ import annotations

from typing import TextIO

from streamdet.detection.event import Event
from streamdet.formats.markers import event_span_s, marker_text
from streamdet.formats.writer import ScoreExplanation


class AudacityWriter:
    """Onset, end and words between tabs, a line an event: File, Import, Labels in Audacity."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, event: Event, explanation: ScoreExplanation | None = None) -> None:
        """One line."""
        del explanation
        first, last = event_span_s(event)
        self._stream.write(f"{first:.6f}\t{last:.6f}\t{marker_text(event)}\n")
        self._stream.flush()

    def close(self) -> None:
        """Nothing is left to write."""
