"""Export formats of events: one module per format."""

from __future__ import annotations

from typing import Literal, TextIO, get_args

from streamdet.formats.audacity import AudacityWriter
from streamdet.formats.csv import CsvWriter
from streamdet.formats.edl import EdlWriter
from streamdet.formats.fcpxml import FcpxmlWriter
from streamdet.formats.jsonl import JsonlWriter
from streamdet.formats.raven import RavenWriter
from streamdet.formats.srt import SrtWriter
from streamdet.formats.table import TableWriter
from streamdet.formats.textgrid import TextGridWriter
from streamdet.formats.timecode import Timebase
from streamdet.formats.webvtt import VttWriter
from streamdet.formats.writer import EventWriter, ScoreExplanation

EventFormat = Literal[
    "jsonl", "csv", "table", "audacity", "raven", "srt", "vtt", "edl", "fcpxml", "otio", "textgrid"
]
FORMATS: dict[str, EventFormat] = {name: name for name in get_args(EventFormat)}
SINGLE_FILE_FORMATS = frozenset(("audacity", "srt", "vtt", "edl", "fcpxml", "otio", "textgrid"))
"""Formats with one timeline, which can hold the events of only one file."""
REPORT_SUFFIX = ".html"
"""The suffix of an HTML report (streamdet.report), which is not an event format."""
EDIT_FORMATS = frozenset(("edl", "fcpxml", "otio"))
"""Formats that count frames, and need a timebase."""
SUFFIXES: dict[str, EventFormat] = {
    ".jsonl": "jsonl", ".csv": "csv", ".selections.txt": "raven", ".txt": "audacity", ".srt": "srt",
    ".vtt": "vtt", ".edl": "edl", ".fcpxml": "fcpxml", ".otio": "otio", ".textgrid": "textgrid",
}  # fmt: skip
SUFFIX_OF: dict[EventFormat, str] = {kind: suffix for suffix, kind in SUFFIXES.items()}
"""The file name suffix of each format."""


def format_for(name: str) -> EventFormat | None:
    """Return the format for a file name by its suffix, in any letter case.

    Returns None for an unknown suffix, for a name without one, and for `REPORT_SUFFIX`. The
    longest suffix wins: ``x.selections.txt`` is "raven", ``x.txt`` is "audacity".
    """
    suffixes = sorted(SUFFIXES, key=len, reverse=True)
    return next((SUFFIXES[suffix] for suffix in suffixes if name.lower().endswith(suffix)), None)


def open_writer(
    kind: EventFormat, stream: TextIO, *, explain: bool = False, timebase: Timebase | None = None
) -> EventWriter:
    """Return a writer of a format for an open text stream.

    Raises ValueError if one of the `EDIT_FORMATS` has no ``timebase``, and ImportError if the
    library of a format is not installed.
    """
    if kind in EDIT_FORMATS:
        if timebase is None:
            raise ValueError(f"the format {kind} needs a timebase")
        if kind == "otio":
            from streamdet.formats.otio import OtioWriter

            return OtioWriter(stream, timebase)
        return (EdlWriter if kind == "edl" else FcpxmlWriter)(stream, timebase)
    if kind == "csv":
        return CsvWriter(stream, explain=explain)
    writers = {
        "table": TableWriter, "audacity": AudacityWriter, "raven": RavenWriter, "srt": SrtWriter,
        "vtt": VttWriter, "textgrid": TextGridWriter,
    }  # fmt: skip
    return writers.get(kind, JsonlWriter)(stream)


__all__ = [
    "EDIT_FORMATS",
    "FORMATS",
    "REPORT_SUFFIX",
    "SINGLE_FILE_FORMATS",
    "SUFFIX_OF",
    "EventFormat",
    "EventWriter",
    "ScoreExplanation",
    "Timebase",
    "format_for",
    "open_writer",
]  # fmt: skip
