"""Stored events, with what was said of them, in the forms that events have."""

from __future__ import annotations

import csv
import json
from typing import Protocol, TextIO

from streamdet.detection.event import format_utc
from streamdet.formats.csv import COLUMNS
from streamdet.store.reader import StoredEvent
from streamdet.text import printable


class StoredEventWriter(Protocol):
    """Where stored events go, one after another."""

    def write(self, stored: StoredEvent) -> None:
        """Write one."""
        ...

    def close(self) -> None:
        """Finish what the format needs at its end."""
        ...


class StoredEventJsonl:
    """One object a line; ``review`` is null or the verdict."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, stored: StoredEvent) -> None:
        """One line."""
        self._stream.write(json.dumps(stored.record(), separators=(",", ":")) + "\n")

    def close(self) -> None:
        """Hand over what is buffered."""
        self._stream.flush()


class StoredEventCsv:
    """The columns of events, then verdict, cause, note, reviewer."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._rows = csv.writer(stream, lineterminator="\n")
        self._rows.writerow((*COLUMNS, "verdict", "cause", "note", "reviewer"))

    def write(self, stored: StoredEvent) -> None:
        """One row; what is not known is empty."""
        record = stored.event.record()
        model = record.pop("model")
        record["model"] = f"{model['name']}/{model['version']}"
        said = (stored.verdict, stored.cause, stored.note, stored.reviewer)
        self._rows.writerow("" if v is None else v for v in (*(record[c] for c in COLUMNS), *said))

    def close(self) -> None:
        """Hand over what is buffered."""
        self._stream.flush()


class StoredEventTable:
    """A line an event, for people."""

    _HEAD = f"{'time':<24}  {'rounds':>6}  {'score':>5}  {'verdict':<18}  {'source':<16}  id"

    def __init__(self, stream: TextIO) -> None:
        self._stream, self._count = stream, 0

    def write(self, stored: StoredEvent) -> None:
        """One line."""
        if not self._count:
            self._stream.write(self._HEAD + "\n")
        self._count += 1
        d = stored.event.detection
        said = stored.verdict or ""
        if stored.cause:
            said += f" ({stored.cause})"
        self._stream.write(
            f"{format_utc(stored.time_s):<24}  {d.rounds:>6}  {d.score:>5.2f}  {said:<18}"
            f"  {printable(stored.event.source):<16}  {stored.event.id}\n"
        )

    def close(self) -> None:
        """Say so where there was none."""
        if not self._count:
            self._stream.write("no events\n")
        self._stream.flush()


def open_stored_writer(kind: str, stream: TextIO) -> StoredEventWriter:
    """The sink of that form (jsonl, csv or table) over an open text stream."""
    if kind == "csv":
        return StoredEventCsv(stream)
    return StoredEventTable(stream) if kind == "table" else StoredEventJsonl(stream)
