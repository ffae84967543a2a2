"""Praat's TextGrid: one tier, an interval for each event."""

from __future__ import annotations

from typing import TextIO

from streamdet.detection.event import Event
from streamdet.formats.markers import event_span_s, marker_text
from streamdet.formats.writer import ScoreExplanation


class TextGridWriter:
    """Written whole at the end, since it begins with how many intervals there are."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._spans: list[tuple[float, float, str]] = []

    def write(self, event: Event, explanation: ScoreExplanation | None = None) -> None:
        """Keep one for the tier."""
        del explanation
        self._spans.append((*event_span_s(event), marker_text(event)))

    def close(self) -> None:
        """Write the tier; between events are empty intervals, since a tier has no holes."""
        intervals: list[tuple[float, float, str]] = []
        at = 0.0
        for first, last, text in self._spans:
            first = max(first, at)
            if first > at:
                intervals.append((at, first, ""))
            at = max(last, first + 0.001)
            intervals.append((first, at, text))
        end = at or 1.0
        lines = [
            'File type = "ooTextFile"', 'Object class = "TextGrid"', "", "xmin = 0",
            f"xmax = {end:.6f}", "tiers? <exists>", "size = 1", "item []:", "    item [1]:",
            '        class = "IntervalTier"', '        name = "gunshots"', "        xmin = 0",
            f"        xmax = {end:.6f}", f"        intervals: size = {len(intervals) or 1}",
        ]  # fmt: skip
        for number, (first, last, text) in enumerate(intervals or [(0.0, end, "")], 1):
            lines += [
                f"        intervals [{number}]:", f"            xmin = {first:.6f}",
                f"            xmax = {last:.6f}", f'            text = "{text}"',
            ]  # fmt: skip
        self._stream.write("\n".join(lines) + "\n")
        self._stream.flush()
