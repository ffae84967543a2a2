"""Write the events of an event store, with their verdicts, as JSON lines, CSV or a table."""

from __future__ import annotations

import csv
import json
from typing import Protocol, TextIO

from streamdet.detection.event import format_utc
from streamdet.formats.csv import COLUMNS
from streamdet.formats.table import format_clock
from streamdet.store.reader import StoredEvent
from streamdet.text import printable


class StoredEventWriter(Protocol):
    """Writes stored events to a text stream."""

    def write(self, stored: StoredEvent) -> None:
        """Write one event."""
        ...

    def close(self) -> None:
        """Finish the output. The stream stays open."""
        ...


class StoredEventJsonl:
    """Writes JSON lines. ``review`` is the verdict or null."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, stored: StoredEvent) -> None:
        """Write one line."""
        self._stream.write(json.dumps(stored.record(), separators=(",", ":")) + "\n")

    def close(self) -> None:
        """Flush the stream."""
        self._stream.flush()


class StoredEventCsv:
    """Writes the CSV columns of events, then verdict, cause, note and reviewer."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._rows = csv.writer(stream, lineterminator="\n")
        self._rows.writerow((*COLUMNS, "verdict", "cause", "note", "reviewer"))

    def write(self, stored: StoredEvent) -> None:
        """Write one row. Unknown values are empty."""
        record = stored.event.record()
        model = record.pop("model")
        record["model"] = f"{model['name']}/{model['version']}"
        review = (stored.verdict, stored.cause, stored.note, stored.reviewer)
        values = (*(record[column] for column in COLUMNS), *review)
        self._rows.writerow("" if value is None else value for value in values)

    def close(self) -> None:
        """Flush the stream."""
        self._stream.flush()


class StoredEventTable:
    """Writes one line per event, for a terminal. ``time`` is empty if the source has no clock."""

    _HEAD = (
        f"{'time':<24}  {'onset':>13}  {'rounds':>6}  {'score':>5}  {'verdict':<18}  {'source':<16}"
        "  id"
    )

    def __init__(self, stream: TextIO) -> None:
        self._stream, self._count = stream, 0

    def write(self, stored: StoredEvent) -> None:
        """Write one line, with a head before the first."""
        if not self._count:
            self._stream.write(self._HEAD + "\n")
        self._count += 1
        d = stored.event.detection
        time = "" if stored.event.unix_s is None else format_utc(stored.time_s)
        verdict = stored.verdict or ""
        if stored.cause:
            verdict += f" ({stored.cause})"
        self._stream.write(
            f"{time:<24}  {format_clock(stored.event.onset_s):>13}  {d.rounds:>6}  {d.score:>5.2f}"
            f"  {verdict:<18}  {printable(stored.event.source):<16}  {stored.event.id}\n"
        )

    def close(self) -> None:
        """Write a line if there was no event."""
        if not self._count:
            self._stream.write("no events\n")
        self._stream.flush()


def open_stored_writer(output_format: str, stream: TextIO) -> StoredEventWriter:
    """The writer of a format (jsonl, csv or table) to an open text stream."""
    if output_format == "csv":
        return StoredEventCsv(stream)
    return StoredEventTable(stream) if output_format == "table" else StoredEventJsonl(stream)
