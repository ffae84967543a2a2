"""Markers as an OpenTimelineIO timeline. Needs the extra "edit"."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TextIO

from streamdet.detection.event import Event
from streamdet.formats.markers import marker_text
from streamdet.formats.timecode import Timebase
from streamdet.formats.writer import ScoreExplanation


class OtioWriter:
    """Collects the events, and writes the timeline at the end.

    Raises ImportError without OpenTimelineIO.
    """

    def __init__(self, stream: TextIO, timebase: Timebase) -> None:
        import opentimelineio

        self._otio: Any = opentimelineio
        self._stream, self._timebase = stream, timebase
        self._events: list[Event] = []

    def write(self, event: Event, explanation: ScoreExplanation | None = None) -> None:
        """Add an event to the timeline."""
        del explanation
        self._events.append(event)

    def close(self) -> None:
        """Write the timeline: one gap of its whole length, with a marker per event."""
        otio, base, events = self._otio, self._timebase, self._events
        rate = float(base.fps)

        def time(frames: int) -> Any:
            return otio.opentime.RationalTime(frames, rate)

        length = max((base.frame(event.span_s[1]) + 1 for event in events), default=1)
        gap = otio.schema.Gap(
            source_range=otio.opentime.TimeRange(time(0), time(length)), name="gunshots"
        )
        for event in events:
            first, last = map(base.frame, event.span_s)
            marked = otio.opentime.TimeRange(time(first), time(max(1, last - first)))
            gap.markers.append(
                otio.schema.Marker(
                    name=marker_text(event), marked_range=marked, color="RED",
                    metadata={"streamdet": event.record()},
                )
            )  # fmt: skip
        name = Path(events[0].source).stem if events else "no gunshots"
        timeline = otio.schema.Timeline(name=name, global_start_time=time(base.start))
        track = otio.schema.Track(name="gunshots", kind=otio.schema.TrackKind.Video)
        track.append(gap)
        timeline.tracks.append(track)
        self._stream.write(timeline.to_json_string() + "\n")
        self._stream.flush()
