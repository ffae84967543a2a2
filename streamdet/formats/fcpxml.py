"""Markers for Final Cut Pro: an FCPXML project of one gap with a marker per event."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import TextIO
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from streamdet.detection.event import Event
from streamdet.formats.markers import marker_text
from streamdet.formats.timecode import Timebase
from streamdet.formats.writer import ScoreExplanation


class FcpxmlWriter:
    """Collects the events, and writes the document at the end."""

    def __init__(self, stream: TextIO, timebase: Timebase) -> None:
        self._stream, self._timebase = stream, timebase
        self._events: list[Event] = []

    def write(self, event: Event, explanation: ScoreExplanation | None = None) -> None:
        """Add an event to the document."""
        del explanation
        self._events.append(event)

    def close(self) -> None:
        """Write the document."""
        base, events = self._timebase, self._events
        length = max((base.frame(event.span_s[1]) + 1 for event in events), default=1)
        stem = Path(events[0].source).stem if events else ""
        name = "".join(c if c.isprintable() else "?" for c in stem)
        root = Element("fcpxml", version="1.9")
        resources = SubElement(root, "resources")
        SubElement(resources, "format", id="r1", frameDuration=_format_time(1 / base.fps))
        library_event = SubElement(SubElement(root, "library"), "event", name="streamdet")
        project = SubElement(library_event, "project", name=name or "no gunshots")
        start = _format_time(base.seconds(base.start))
        duration = _format_time(base.seconds(length))
        sequence = SubElement(
            project, "sequence", format="r1", tcStart=start,
            tcFormat="DF" if base.drop else "NDF", duration=duration,
        )  # fmt: skip
        gap = SubElement(
            SubElement(sequence, "spine"), "gap", name="gunshots", offset=start, start=start,
            duration=duration,
        )  # fmt: skip
        for event in events:
            onset = base.seconds(base.start + base.frame(event.span_s[0]))
            SubElement(
                gap, "marker", start=_format_time(onset), duration=_format_time(1 / base.fps),
                value=marker_text(event), note=event.id,
            )  # fmt: skip
        ElementTree.indent(root)
        self._stream.write('<?xml version="1.0" encoding="UTF-8"?>\n<!DOCTYPE fcpxml>\n')
        self._stream.write(ElementTree.tostring(root, encoding="unicode") + "\n")
        self._stream.flush()


def _format_time(seconds: Fraction) -> str:
    """Format a time as FCPXML does: ``1001/30000s``."""
    if seconds.denominator == 1:
        return f"{seconds.numerator}s"
    return f"{seconds.numerator}/{seconds.denominator}s"
