"""Where events go: one file for each form of output."""

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
"""The forms that have one timeline, and so are of one file."""
REPORT_SUFFIX = ".html"
"""How a report ends, which is of whole files (streamdet.report.html)."""
EDIT_FORMATS = frozenset(("edl", "fcpxml", "otio"))
"""The forms that count frames, and so want a timebase."""
SUFFIXES: dict[str, EventFormat] = {
    ".jsonl": "jsonl", ".csv": "csv", ".selections.txt": "raven", ".txt": "audacity", ".srt": "srt",
    ".vtt": "vtt", ".edl": "edl", ".fcpxml": "fcpxml", ".otio": "otio", ".textgrid": "textgrid",
}  # fmt: skip
SUFFIX_OF: dict[EventFormat, str] = {form: suffix for suffix, form in SUFFIXES.items()}
"""How a file of each form ends."""


def format_for(name: str) -> EventFormat | None:
    """The form that a file's name asks for, the longest ending first; None for no known one."""
    endings = sorted(SUFFIXES, key=len, reverse=True)
    return next((SUFFIXES[end] for end in endings if name.lower().endswith(end)), None)


def open_writer(
    kind: EventFormat, stream: TextIO, *, explain: bool = False, timebase: Timebase | None = None
) -> EventWriter:
    """The sink of that form over an open text stream; those of an edit want a ``timebase``. Raises
    ImportError where a form's library is missing."""
    if kind in EDIT_FORMATS:
        if timebase is None:
            raise ValueError(f"{kind} wants a frame rate")
        if kind == "otio":
            from streamdet.formats.otio import OtioWriter

            return OtioWriter(stream, timebase)
        return (EdlWriter if kind == "edl" else FcpxmlWriter)(stream, timebase)
    if kind == "csv":
        return CsvWriter(stream, explain=explain)
    plain = {
        "table": TableWriter, "audacity": AudacityWriter, "raven": RavenWriter, "srt": SrtWriter,
        "vtt": VttWriter, "textgrid": TextGridWriter,
    }  # fmt: skip
    return plain.get(kind, JsonlWriter)(stream)


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
