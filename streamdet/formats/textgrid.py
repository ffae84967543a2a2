"""Praat's TextGrid: one tier with an interval per event."""

from __future__ import annotations

from typing import TextIO

from streamdet.detection.event import Event
from streamdet.formats.markers import marker_text
from streamdet.formats.writer import ScoreExplanation


class TextGridWriter:
    """Collects the events, and writes the tier at the end: it starts with the interval count."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._spans: list[tuple[float, float, str]] = []

    def write(self, event: Event, explanation: ScoreExplanation | None = None) -> None:
        """Add an event to the tier."""
        del explanation
        self._spans.append((*event.span_s, marker_text(event)))

    def close(self) -> None:
        """Write the tier. Empty intervals fill the gaps, because a tier must not have any."""
        intervals: list[tuple[float, float, str]] = []
        end = 0.0
        for onset_s, end_s, text in self._spans:
            start = max(onset_s, end)
            if start > end:
                intervals.append((end, start, ""))
            end = max(end_s, start + 0.001)
            intervals.append((start, end, text))
        end = end or 1.0
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
