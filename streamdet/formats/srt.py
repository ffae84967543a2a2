"""SubRip subtitles: a numbered cue per event."""

from __future__ import annotations

from typing import TextIO

from streamdet.detection.event import Event
from streamdet.formats.markers import marker_text
from streamdet.formats.writer import ScoreExplanation

MIN_CUE_S = 1.0
"""A cue stays at least this long, because a shot is too short to read its text."""


class SrtWriter:
    """Writes SubRip cues: a number, a time span and a text."""

    _decimal_mark, _header = ",", ""

    def __init__(self, stream: TextIO) -> None:
        self._stream, self._count = stream, 0
        stream.write(self._header)

    def write(self, event: Event, explanation: ScoreExplanation | None = None) -> None:
        """Write one cue, followed by an empty line."""
        del explanation
        self._count += 1
        onset_s, end_s = event.span_s
        span = f"{self._clock(onset_s)} --> {self._clock(max(end_s, onset_s + MIN_CUE_S))}"
        self._stream.write(f"{self._count}\n{span}\n{marker_text(event)}\n\n")
        self._stream.flush()

    def close(self) -> None:
        """Flush the header of a file without cues."""
        self._stream.flush()

    def _clock(self, seconds: float) -> str:
        minutes, rest = divmod(round(seconds * 1_000), 60_000)
        hours, minutes = divmod(minutes, 60)
        mark = self._decimal_mark
        return f"{hours:02d}:{minutes:02d}:{rest // 1_000:02d}{mark}{rest % 1_000:03d}"
