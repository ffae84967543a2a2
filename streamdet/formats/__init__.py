"""Where events go: one file for each form of output."""

from __future__ import annotations

from typing import Literal, TextIO, get_args

from streamdet.formats.csv import CsvSink
from streamdet.formats.edl import EdlSink
from streamdet.formats.fcpxml import FcpxmlSink
from streamdet.formats.jsonl import JsonlSink
from streamdet.formats.labels import AudacitySink, RavenSink
from streamdet.formats.subtitles import SrtSink, VttSink
from streamdet.formats.table import TableSink
from streamdet.formats.textgrid import TextGridSink
from streamdet.formats.timecode import Timebase
from streamdet.formats.writer import Explanation, Sink

Format = Literal[
    "jsonl", "csv", "table", "audacity", "raven", "srt", "vtt", "edl", "fcpxml", "otio", "textgrid"
]
FORMS: dict[str, Format] = {name: name for name in get_args(Format)}
ONE_FILE = frozenset(("audacity", "srt", "vtt", "edl", "fcpxml", "otio", "textgrid"))
"""The forms that have one timeline, and so are of one file."""
REPORT = ".html"
"""How a report ends, which is of whole files (streamdet.report.html)."""
EDITS = frozenset(("edl", "fcpxml", "otio"))
"""The forms that count frames, and so want a timebase."""
SUFFIXES: dict[str, Format] = {
    ".jsonl": "jsonl", ".csv": "csv", ".selections.txt": "raven", ".txt": "audacity", ".srt": "srt",
    ".vtt": "vtt", ".edl": "edl", ".fcpxml": "fcpxml", ".otio": "otio", ".textgrid": "textgrid",
}  # fmt: skip
SUFFIX_OF: dict[Format, str] = {form: suffix for suffix, form in SUFFIXES.items()}
"""How a file of each form ends."""


def form_of(name: str) -> Format | None:
    """The form that a file's name asks for, the longest ending first; None for no known one."""
    endings = sorted(SUFFIXES, key=len, reverse=True)
    return next((SUFFIXES[end] for end in endings if name.lower().endswith(end)), None)


def open_sink(
    kind: Format, stream: TextIO, *, explain: bool = False, timebase: Timebase | None = None
) -> Sink:
    """The sink of that form over an open text stream; those of an edit want a ``timebase``. Raises
    ImportError where a form's library is missing."""
    if kind in EDITS:
        if timebase is None:
            raise ValueError(f"{kind} wants a frame rate")
        if kind == "otio":
            from streamdet.formats.otio import OtioSink

            return OtioSink(stream, timebase)
        return (EdlSink if kind == "edl" else FcpxmlSink)(stream, timebase)
    if kind == "csv":
        return CsvSink(stream, explain=explain)
    plain = {
        "table": TableSink, "audacity": AudacitySink, "raven": RavenSink, "srt": SrtSink,
        "vtt": VttSink, "textgrid": TextGridSink,
    }  # fmt: skip
    return plain.get(kind, JsonlSink)(stream)


__all__ = [
    "EDITS", "FORMS", "ONE_FILE", "REPORT", "SUFFIX_OF", "Explanation", "Format", "Sink",
    "Timebase", "form_of", "open_sink",
]  # fmt: skip
