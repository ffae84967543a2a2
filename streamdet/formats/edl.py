"""Markers as an edit decision list (CMX 3600) for DaVinci Resolve, Avid and Premiere.

Each event is one black frame. Resolve takes its colour, name and length as a marker ("Import,
Timeline Markers from EDL"). Avid and Premiere take its LOC comment as a locator.
"""

from __future__ import annotations

from pathlib import Path
from typing import TextIO

from streamdet.detection.event import Event
from streamdet.formats.markers import marker_text
from streamdet.formats.timecode import Timebase
from streamdet.formats.writer import ScoreExplanation

_MAX_NUMBER = 999
"""The event numbers of the format have three digits; after 999 they restart at 1."""


class EdlWriter:
    """Writes the header with the first event, or at the end if there are no events."""

    def __init__(self, stream: TextIO, timebase: Timebase) -> None:
        self._stream, self._timebase, self._count = stream, timebase, 0

    def write(self, event: Event, explanation: ScoreExplanation | None = None) -> None:
        """Write one marker."""
        del explanation
        if not self._count:
            self._write_header(Path(event.source).stem)
        self._count += 1
        base = self._timebase
        first, last = map(base.frame, event.span_s)
        start, end = base.timecode(first), base.timecode(first + 1)
        number = (self._count - 1) % _MAX_NUMBER + 1
        self._stream.write(
            f"{number:03d}  BL       V     C        {start} {end} {start} {end}\n"
            f"* LOC: {start} RED     {marker_text(event)}\n"
            f" |C:ResolveColorRed |M:{marker_text(event)} |D:{max(1, last - first)}\n\n"
        )
        self._stream.flush()

    def close(self) -> None:
        """Write the header if there were no events."""
        if not self._count:
            self._write_header("no gunshots")
        self._stream.flush()

    def _write_header(self, title: str) -> None:
        drop = "DROP FRAME" if self._timebase.drop else "NON-DROP FRAME"
        title = "".join(c if c.isprintable() else "?" for c in title)[:70]
        self._stream.write(f"TITLE: {title}\nFCM: {drop}\n\n")
