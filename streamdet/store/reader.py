"""Reads from the event store: filters, pages and counts, with one connection per thread."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from streamdet import sqlite
from streamdet.detection.event import Detection, Event, ModelId
from streamdet.model.spectrogram import Spectrogram
from streamdet.store import schema
from streamdet.store.store import StoreError, UnknownEventError


@dataclass(frozen=True)
class EventFilter:
    """Conditions that an event must meet; None is no condition.

    ``since_s`` (inclusive) and ``until_s`` (exclusive) are UTC seconds. ``verdict`` is one of
    VERDICTS, "none" for events without a verdict, or "any" for events with one.
    """

    since_s: float | None = None
    until_s: float | None = None
    source: str | None = None
    min_score: float | None = None
    max_score: float | None = None
    verdict: str | None = None
    incident: str | None = None

    def where(self) -> tuple[str, list[Any]]:
        """Return the SQL condition on the table ``e``, and the values of its placeholders."""
        conditions = (
            ("e.at_s >= ?", self.since_s),
            ("e.at_s < ?", self.until_s),
            ("e.source = ?", self.source),
            ("e.score >= ?", self.min_score),
            ("e.score <= ?", self.max_score),
            ("e.incident = ?", self.incident),
        )
        clauses = [clause for clause, value in conditions if value is not None]
        values = [value for _, value in conditions if value is not None]
        if self.verdict in ("none", "any"):
            clauses.append(f"e.verdict IS {'NOT ' if self.verdict == 'any' else ''}NULL")
        elif self.verdict is not None:
            clauses.append("e.verdict = ?")
            values.append(self.verdict)
        return " AND ".join(clauses) or "1", values


@dataclass(frozen=True)
class StoredEvent:
    """An event of the store, with its review and what is known of its clip.

    ``time_s`` is the UTC time of the onset, or of the insert if the onset has no UTC time. ``seq``
    is the order of insertion. ``curve`` is a list of (seconds after the onset, gunshot score).
    ``clip`` is True if there is a clip; ``clip_onset_s`` is the onset's position in it in seconds.
    """

    event: Event
    seq: int
    time_s: float
    curve: list[tuple[float, float]]
    incident: str | None
    verdict: str | None
    cause: str | None
    note: str | None
    reviewer: str | None
    reviewed_s: float | None
    clip: bool
    clip_onset_s: float
    redacted: bool

    def record(self) -> dict[str, Any]:
        """Return the JSON object of docs/events.md, with ``review``, ``incident`` and ``clip``."""
        record = self.event.record()
        record["review"] = (
            None
            if self.verdict is None
            else {
                "verdict": self.verdict,
                "cause": self.cause,
                "note": self.note,
                "reviewer": self.reviewer,
            }
        )
        record |= {"incident": self.incident, "clip": self.clip}
        return record


@dataclass(frozen=True)
class EventPage:
    """A page of events, newest first, and whether newer and older ones exist."""

    events: list[StoredEvent]
    newer: bool
    older: bool


class StoreReader:
    """Reads an event store from any thread.

    Raises StoreError if the file is missing, damaged, not an event store, or of another version.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._local = threading.local()
        if not path.is_file():
            raise StoreError(f"{path}: event store not found")
        version = schema.version(self._db)
        if version > len(schema.MIGRATIONS):
            raise StoreError(f"{path}: a later version of streamdet wrote it. Update streamdet.")
        if version < len(schema.MIGRATIONS):
            raise StoreError(
                f"{path}: not an event store, or one of an earlier version. "
                "`streamdet listen` brings an older one up to date."
            )

    def events(self, event_filter: EventFilter) -> Iterator[StoredEvent]:
        """Yield the events that match, oldest first."""
        where, values = event_filter.where()
        for row in self._rows(f"{_SELECT} WHERE {where} ORDER BY e.at_s, e.seq", values):
            yield _stored(row)

    def newest(self, event_filter: EventFilter, count: int) -> list[StoredEvent]:
        """Return the ``count`` newest events that match, oldest first."""
        return self.page(event_filter, count).events[::-1]

    def page(
        self,
        event_filter: EventFilter,
        size: int,
        before: tuple[float, int] | None = None,
        after: tuple[float, int] | None = None,
    ) -> EventPage:
        """Return the newest ``size`` events that match.

        With ``before`` or ``after``, a (time_s, seq), return the events next to that position.
        """
        where, values = event_filter.where()
        position, order = before or after, "DESC" if after is None else "ASC"
        if position is not None:
            where += f" AND (e.at_s, e.seq) {'<' if after is None else '>'} (?, ?)"
            values += position
        query = f"{_SELECT} WHERE {where} ORDER BY e.at_s {order}, e.seq {order} LIMIT ?"
        rows = [_stored(row) for row in self._rows(query, (*values, size + 1))]
        more, rows = len(rows) > size, rows[:size]
        if after is not None:
            return EventPage(rows[::-1], newer=more, older=True)
        return EventPage(rows, newer=before is not None, older=more)

    def event(self, event_id: str) -> StoredEvent:
        """Return the event with this id. Raises UnknownEventError."""
        for row in self._rows(f"{_SELECT} WHERE e.id = ?", (event_id,)):
            return _stored(row)
        raise UnknownEventError(f"{self.path}: no event {event_id}")

    def history(self, event_id: str) -> list[dict[str, Any]]:
        """Return every verdict on an event, oldest first."""
        names = ("verdict", "cause", "note", "reviewer", "given_s")
        query = f"SELECT {', '.join(names)} FROM verdicts WHERE event = ? ORDER BY number"  # noqa: S608
        return [dict(zip(names, row, strict=True)) for row in self._rows(query, (event_id,))]

    def spectrogram(self, event_id: str) -> Spectrogram | None:
        """Return the spectrogram of an event, or None if the store has none."""
        query = "SELECT levels, onset_s, hop_s, bands FROM pictures WHERE event = ?"
        return next((Spectrogram.unpack(*row) for row in self._rows(query, (event_id,))), None)

    def count(self, event_filter: EventFilter) -> int:
        """Return the number of events that match."""
        where, values = event_filter.where()
        query = f"SELECT count(*) FROM events e WHERE {where}"  # noqa: S608 - no text from outside
        return int(next(self._rows(query, values))[0])

    def sources(self) -> list[str]:
        """Return the names of all sources, sorted."""
        # steps over the index from name to name; DISTINCT would read every row
        query = (
            "WITH RECURSIVE s(name) AS (SELECT min(source) FROM events UNION ALL "
            "SELECT (SELECT min(source) FROM events WHERE source > s.name) FROM s "
            "WHERE s.name IS NOT NULL) SELECT name FROM s WHERE name IS NOT NULL"
        )
        return [name for (name,) in self._rows(query, ())]

    def score_counts(self, event_filter: EventFilter) -> list[tuple[float, int, int, int]]:
        """Return (score, true, false, undecided) for each score that events have, lowest first.

        Scores have four decimals, so there are at most 10,001.
        """
        where, values = event_filter.where()
        query = (
            "SELECT e.score, sum(e.verdict IS 'true'), "  # noqa: S608 - no text from outside
            "sum(e.verdict IS 'false'), sum(e.verdict IS NULL OR e.verdict = 'unsure') "
            f"FROM events e WHERE {where} GROUP BY e.score ORDER BY e.score"
        )
        return [(row[0], row[1], row[2], row[3]) for row in self._rows(query, values)]

    def highest_threshold(self, event_filter: EventFilter) -> float | None:
        """Return the highest threshold that the events were judged by, None without events."""
        where, values = event_filter.where()
        query = f"SELECT max(e.threshold) FROM events e WHERE {where}"  # noqa: S608
        return next(self._rows(query, values))[0]

    def counts_by_day(
        self, event_filter: EventFilter, shift_s: float = 0.0
    ) -> list[tuple[int, int, int, int]]:
        """Return (day, events, true, false) for each day that has events, oldest first.

        ``day`` counts from 1970-01-01, by a clock that is ``shift_s`` seconds ahead of UTC.
        """
        where, values = event_filter.where()
        query = (
            "SELECT cast((e.at_s + ?) / 86400 AS INT) AS day, count(*), "  # noqa: S608
            "sum(e.verdict IS 'true'), sum(e.verdict IS 'false') "
            f"FROM events e WHERE {where} GROUP BY day ORDER BY day"
        )
        return [(row[0], row[1], row[2], row[3]) for row in self._rows(query, (shift_s, *values))]

    def counts_by_slot(
        self, event_filter: EventFilter, since_s: float, slot_s: int
    ) -> list[tuple[str, int, int, int, int]]:
        """Return (source, slot, events, true, false) for each source and slot that has events.

        A slot lasts ``slot_s`` seconds; slot 0 starts at ``since_s``.
        """
        where, values = event_filter.where()
        query = (
            "SELECT e.source, cast((e.at_s - ?) / ? AS INT) AS slot, count(*), "  # noqa: S608
            "sum(e.verdict IS 'true'), sum(e.verdict IS 'false') "
            f"FROM events e WHERE {where} GROUP BY e.source, slot ORDER BY e.source, slot"
        )
        rows = self._rows(query, (since_s, slot_s, *values))
        return [(row[0], row[1], row[2], row[3], row[4]) for row in rows]

    def close(self) -> None:
        """Close this thread's connection."""
        if hasattr(self._local, "connection"):
            self._local.connection.close()
            del self._local.connection

    @property
    def _db(self) -> sqlite3.Connection:
        if not hasattr(self._local, "connection"):
            try:
                self._local.connection = sqlite.open_read_only(self.path)
            except (OSError, sqlite3.Error) as error:
                raise StoreError(
                    f"{self.path}: can't be read as an event store: {error}"
                ) from error
        return self._local.connection

    def _rows(self, query: str, values: Any) -> Iterator[tuple[Any, ...]]:
        try:
            # `yield from` would close the cursor of a database that is closed already
            for row in self._db.execute(query, values):  # noqa: UP028
                yield row
        except sqlite3.Error as error:
            raise StoreError(f"{self.path}: {error}") from error


_SELECT = (
    "SELECT e.id, e.source, e.onset_s, e.offset_s, e.onset_sample, e.sample_rate, e.rounds, "
    "e.score, e.threshold, e.level_dbfs, e.labels, m.name, m.version, m.sha256, e.seq, e.at_s, "
    "e.dated, e.curve, e.incident, e.verdict, e.cause, e.note, e.reviewer, e.reviewed_s, "
    "e.channel, e.verified, e.stage_score, c.event IS NOT NULL, coalesce(c.onset_s, 0), "
    "coalesce(c.redacted, 0) "
    "FROM events e JOIN models m ON m.key = e.model LEFT JOIN clips c ON c.event = e.id"
)


def _stored(row: tuple[Any, ...]) -> StoredEvent:
    (event_id, source, _, offset_s, onset, rate, rounds, score, threshold, level, labels, name,
     version, sha, seq, at_s, dated, curve, incident, verdict, cause, note, reviewer, reviewed_s,
     channel, verified, stage_score, clip, clip_onset_s, redacted) = row  # fmt: skip
    offset = None if offset_s is None else round(offset_s * rate)
    detection = Detection(
        "onset" if offset is None else "final", onset, offset, offset or onset, rounds, score,
        threshold, level, json.loads(labels), channel,
        None if verified is None else bool(verified), stage_score,
    )  # fmt: skip
    model, unix_s = ModelId(name, version, sha), at_s if dated else None
    return StoredEvent(
        Event(detection, event_id, source, rate, unix_s, model),
        seq,
        at_s,
        [] if curve is None else [(t, p) for t, p in json.loads(curve)],
        incident,
        verdict,
        cause,
        note,
        reviewer,
        reviewed_s,
        bool(clip),
        clip_onset_s,
        bool(redacted),
    )
