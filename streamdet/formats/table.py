"""A table for people: a line an event, as it is found."""

from __future__ import annotations

from typing import TextIO

from streamdet.detection.event import Event
from streamdet.formats.writer import ScoreExplanation
from streamdet.text import printable

_HEAD = f"{'onset':>12}  {'offset':>12}  {'rounds':>6}  {'score':>5}  {'level':>11}  source"


class TableWriter:
    """Writes to an open text stream; the head comes with the first event."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._count = 0

    def write(self, event: Event, explanation: ScoreExplanation | None = None) -> None:
        """One line, and one more below it for the explanation."""
        if not self._count:
            self._stream.write(_HEAD + "\n")
        self._count += 1
        d, rate = event.detection, event.sample_rate
        offset = "" if d.offset is None else format_clock(d.offset / rate)
        level = f"{d.level_dbfs:.1f} dBFS"
        self._stream.write(
            f"{format_clock(d.onset / rate):>12}  {offset:>12}  {d.rounds:>6}  {d.score:>5.2f}"
            f"  {level:>11}  {printable(event.source)}\n"
        )
        if explanation is not None:
            self._stream.write(f"{'':>12}  {explanation.text(event)}\n")
        self._stream.flush()

    def close(self) -> None:
        """Say so where nothing was found."""
        if not self._count:
            self._stream.write("no gunshots found\n")
            self._stream.flush()


def format_clock(seconds: float) -> str:
    """``1:02:03.450``, the hours only where there are any."""
    minutes, rest = divmod(round(seconds * 1000), 60_000)
    hours, minutes = divmod(minutes, 60)
    tail = f"{minutes:02d}:{rest // 1000:02d}.{rest % 1000:03d}"
    return f"{hours}:{tail}" if hours else tail
