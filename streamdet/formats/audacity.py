"""Audacity label tracks: a line per event with onset, end and text between tabs."""

from __future__ import annotations

from typing import TextIO

from streamdet.detection.event import Event
from streamdet.formats.markers import marker_text
from streamdet.formats.writer import ScoreExplanation


class AudacityWriter:
    """Writes a label track, which Audacity opens with File, Import, Labels."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, event: Event, explanation: ScoreExplanation | None = None) -> None:
        """Write one label."""
        del explanation
        onset_s, end_s = event.span_s
        self._stream.write(f"{onset_s:.6f}\t{end_s:.6f}\t{marker_text(event)}\n")
        self._stream.flush()

    def close(self) -> None:
        """Do nothing: every label is already written."""
