"""Markers as an edit decision list (CMX 3600): DaVinci Resolve's form, with locators for others.

Each event is one frame of black with a colour, a name and a length behind it, which Resolve takes
as a marker ("Import, Timeline Markers from EDL"), and a LOC comment, which Avid and Premiere take.
"""

from __future__ import annotations

from pathlib import Path
from typing import TextIO

from streamdet.detection.event import Event
from streamdet.formats.markers import event_span_s, marker_text
from streamdet.formats.timecode import Timebase
from streamdet.formats.writer import ScoreExplanation

_MOST = 999
"""The form's event numbers have three digits; beyond them counting begins anew."""


class EdlWriter:
    """Writes to an open text stream; the head comes with the first event or at the end."""

    def __init__(self, stream: TextIO, timebase: Timebase) -> None:
        self._stream, self._timebase, self._count = stream, timebase, 0

    def write(self, event: Event, explanation: ScoreExplanation | None = None) -> None:
        """One marker."""
        del explanation
        if not self._count:
            self._begin(Path(event.source).stem)
        self._count += 1
        base = self._timebase
        first, last = map(base.frame, event_span_s(event))
        at, after = base.timecode(first), base.timecode(first + 1)
        number = (self._count - 1) % _MOST + 1
        self._stream.write(
            f"{number:03d}  BL       V     C        {at} {after} {at} {after}\n"
            f"* LOC: {at} RED     {marker_text(event)}\n"
            f" |C:ResolveColorRed |M:{marker_text(event)} |D:{max(1, last - first)}\n\n"
        )
        self._stream.flush()

    def close(self) -> None:
        """The head, where there was no event."""
        if not self._count:
            self._begin("no gunshots")
        self._stream.flush()

    def _begin(self, title: str) -> None:
        drop = "DROP FRAME" if self._timebase.drop else "NON-DROP FRAME"
        title = "".join(c if c.isprintable() else "?" for c in title)[:70]
        self._stream.write(f"TITLE: {title}\nFCM: {drop}\n\n")
