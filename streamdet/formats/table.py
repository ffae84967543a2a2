"""A table for a terminal: a line per event, as it is found."""

from __future__ import annotations

from typing import TextIO

from streamdet.detection.event import Event
from streamdet.formats.writer import ScoreExplanation
from streamdet.text import printable

_HEADER = f"{'onset':>12}  {'offset':>12}  {'rounds':>6}  {'score':>5}  {'level':>11}  source"


class TableWriter:
    """Writes the header with the first event."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._count = 0

    def write(self, event: Event, explanation: ScoreExplanation | None = None) -> None:
        """Write one line, and a second one for an explanation."""
        if not self._count:
            self._stream.write(_HEADER + "\n")
        self._count += 1
        d = event.detection
        offset = "" if event.offset_s is None else format_clock(event.offset_s)
        level = f"{d.level_dbfs:.1f} dBFS"
        self._stream.write(
            f"{format_clock(event.onset_s):>12}  {offset:>12}  {d.rounds:>6}  {d.score:>5.2f}"
            f"  {level:>11}  {printable(event.source)}\n"
        )
        if explanation is not None:
            self._stream.write(f"{'':>12}  {explanation.text(event)}\n")
        self._stream.flush()

    def close(self) -> None:
        """Flush the stream."""
        self._stream.flush()


def format_clock(seconds: float) -> str:
    """Format seconds as ``02:03.450``, or ``1:02:03.450`` from one hour on."""
    minutes, rest = divmod(round(seconds * 1000), 60_000)
    hours, minutes = divmod(minutes, 60)
    tail = f"{minutes:02d}:{rest // 1000:02d}.{rest % 1000:03d}"
    return f"{hours}:{tail}" if hours else tail
