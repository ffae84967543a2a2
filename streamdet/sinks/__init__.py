"""Where events go: one file for each form of output."""

from __future__ import annotations

from typing import Literal, TextIO

from streamdet.sinks.csv import CsvSink
from streamdet.sinks.jsonl import JsonlSink
from streamdet.sinks.sink import Explanation, Sink
from streamdet.sinks.table import TableSink

Format = Literal["jsonl", "csv", "table"]


def open_sink(kind: Format, stream: TextIO, *, explain: bool = False) -> Sink:
    """The sink of that form over an open text stream."""
    if kind == "csv":
        return CsvSink(stream, explain=explain)
    return TableSink(stream) if kind == "table" else JsonlSink(stream)


__all__ = ["CsvSink", "Explanation", "Format", "JsonlSink", "Sink", "TableSink", "open_sink"]
