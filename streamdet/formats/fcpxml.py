"""Markers for Final Cut Pro: an FCPXML project of one gap with a marker for each event."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import TextIO
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from streamdet.detection.event import Event
from streamdet.formats.markers import event_span_s, marker_text
from streamdet.formats.timecode import Timebase
from streamdet.formats.writer import ScoreExplanation


class FcpxmlWriter:
    """Written whole at the end, since a document has one."""

    def __init__(self, stream: TextIO, timebase: Timebase) -> None:
        self._stream, self._timebase = stream, timebase
        self._events: list[Event] = []

    def write(self, event: Event, explanation: ScoreExplanation | None = None) -> None:
        """Keep one for the document."""
        del explanation
        self._events.append(event)

    def close(self) -> None:
        """Write the document."""
        base, events = self._timebase, self._events
        ends = max((base.frame(event_span_s(event)[1]) + 1 for event in events), default=1)
        name = "".join(
            c if c.isprintable() else "?" for c in (Path(events[0].source).stem if events else "")
        )
        root = Element("fcpxml", version="1.9")
        resources = SubElement(root, "resources")
        SubElement(resources, "format", id="r1", frameDuration=_seconds(1 / base.fps))
        shelf = SubElement(SubElement(root, "library"), "event", name="streamdet")
        project = SubElement(shelf, "project", name=name or "no gunshots")
        start, long = _seconds(base.seconds(base.start)), _seconds(base.seconds(ends))
        form = "DF" if base.drop else "NDF"
        sequence = SubElement(
            project, "sequence", format="r1", tcStart=start, tcFormat=form, duration=long
        )
        gap = SubElement(
            SubElement(sequence, "spine"), "gap", name="gunshots", offset=start, start=start,
            duration=long,
        )  # fmt: skip
        for event in events:
            at = base.seconds(base.start + base.frame(event_span_s(event)[0]))
            SubElement(
                gap, "marker", start=_seconds(at), duration=_seconds(1 / base.fps),
                value=marker_text(event), note=event.id,
            )  # fmt: skip
        ElementTree.indent(root)
        self._stream.write('<?xml version="1.0" encoding="UTF-8"?>\n<!DOCTYPE fcpxml>\n')
        self._stream.write(ElementTree.tostring(root, encoding="unicode") + "\n")
        self._stream.flush()


def _seconds(value: Fraction) -> str:
    """``1001/30000s``, as the form writes times."""
    if value.denominator == 1:
        return f"{value.numerator}s"
    return f"{value.numerator}/{value.denominator}s"
