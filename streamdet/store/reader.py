"""Events as they are asked for: filters, pages, sums. Whoever asks has a connection of its own."""

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
    """Which events: ``since_s`` and ``until_s`` are UTC seconds, the end left out; ``verdict`` is
    one of VERDICTS, ``none`` for those without one, or ``any`` for those with one."""

    since_s: float | None = None
    until_s: float | None = None
    source: str | None = None
    least_score: float | None = None
    most_score: float | None = None
    verdict: str | None = None
    incident: str | None = None

    def where(self) -> tuple[str, list[Any]]:
        """The clause, and its values."""
        asked = (
            ("e.at_s >= ?", self.since_s),
            ("e.at_s < ?", self.until_s),
            ("e.source = ?", self.source),
            ("e.score >= ?", self.least_score),
            ("e.score <= ?", self.most_score),
            ("e.incident = ?", self.incident),
        )
        clauses = [clause for clause, value in asked if value is not None]
        values = [value for _, value in asked if value is not None]
        if self.verdict in ("none", "any"):
            clauses.append(f"e.verdict IS {'NOT ' if self.verdict == 'any' else ''}NULL")
        elif self.verdict is not None:
            clauses.append("e.verdict = ?")
            values.append(self.verdict)
        return " AND ".join(clauses) or "1", values


@dataclass(frozen=True)
class StoredEvent:
    """An event of the store. ``clip`` tells that there is one, ``clip_onset_s`` where in it the
    event begins; ``at_s`` is UTC of its onset or, where that is not known, of its entry."""

    event: Event
    seq: int
    at_s: float
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
        """The JSON object of docs/events.md, and under ``review`` what was said of it."""
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
    """So many events, newest first, and whether there are more on either side."""

    events: list[StoredEvent]
    newer: bool
    older: bool


class StoreReader:
    """Answers from any thread; raises StoreError where the file is none, damaged or gone."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._own = threading.local()
        if not path.is_file():
            raise StoreError(f"{path}: there is no such event store")
        if schema.version(self._db) > len(schema.MIGRATIONS):
            raise StoreError(f"{path}: of a later version than this streamdet knows")
        if schema.version(self._db) < len(schema.MIGRATIONS):
            raise StoreError(f"{path}: no event store, or one of an earlier version")

    def events(self, wanted: EventFilter) -> Iterator[StoredEvent]:
        """Those that are wanted, oldest first."""
        where, values = wanted.where()
        for row in self._rows(f"{_SELECT} WHERE {where} ORDER BY e.at_s, e.seq", values):
            yield _stored(row)

    def newest(self, wanted: EventFilter, count: int) -> list[StoredEvent]:
        """So many of the newest, oldest first."""
        return self.page(wanted, count).events[::-1]

    def page(
        self,
        wanted: EventFilter,
        size: int,
        before: tuple[float, int] | None = None,
        after: tuple[float, int] | None = None,
    ) -> EventPage:
        """The newest, or those next ``before`` or ``after`` an (at_s, seq)."""
        where, values = wanted.where()
        edge, way = before or after, "DESC" if after is None else "ASC"
        if edge is not None:
            where += f" AND (e.at_s, e.seq) {'<' if after is None else '>'} (?, ?)"
            values += edge
        query = f"{_SELECT} WHERE {where} ORDER BY e.at_s {way}, e.seq {way} LIMIT ?"
        rows = [_stored(row) for row in self._rows(query, (*values, size + 1))]
        more, rows = len(rows) > size, rows[:size]
        if after is not None:
            return EventPage(rows[::-1], newer=more, older=True)
        return EventPage(rows, newer=before is not None, older=more)

    def event(self, identity: str) -> StoredEvent:
        """The one of that id; raises UnknownEventError."""
        for row in self._rows(f"{_SELECT} WHERE e.id = ?", (identity,)):
            return _stored(row)
        raise UnknownEventError(f"no event {identity} in {self.path}")

    def history(self, identity: str) -> list[dict[str, Any]]:
        """Every verdict on it, oldest first."""
        names = ("verdict", "cause", "note", "reviewer", "given_s")
        query = f"SELECT {', '.join(names)} FROM verdicts WHERE event = ? ORDER BY number"  # noqa: S608
        return [dict(zip(names, row, strict=True)) for row in self._rows(query, (identity,))]

    def spectrogram(self, identity: str) -> Spectrogram | None:
        """Its picture, if one was kept."""
        query = "SELECT levels, onset_s, hop_s, bands FROM pictures WHERE event = ?"
        return next((Spectrogram.unpack(*row) for row in self._rows(query, (identity,))), None)

    def count(self, wanted: EventFilter) -> int:
        """How many are wanted."""
        where, values = wanted.where()
        query = f"SELECT count(*) FROM events e WHERE {where}"  # noqa: S608 - clauses of ours
        return int(next(self._rows(query, values))[0])

    def sources(self) -> list[str]:
        """The names of all sources, in order."""
        # a step from name to name over the index: DISTINCT would read all of it
        query = (
            "WITH RECURSIVE s(name) AS (SELECT min(source) FROM events UNION ALL "
            "SELECT (SELECT min(source) FROM events WHERE source > s.name) FROM s "
            "WHERE s.name IS NOT NULL) SELECT name FROM s WHERE name IS NOT NULL"
        )
        return [name for (name,) in self._rows(query, ())]

    def score_histogram(
        self, wanted: EventFilter, bins: int = 50
    ) -> list[tuple[float, int, int, int]]:
        """How the scores of those wanted lie: (lowest of the bin, true, false, others)."""
        where, values = wanted.where()
        query = (
            "SELECT min(?, cast(e.score * ? AS INT)) AS bin, "  # noqa: S608 - clauses of ours
            "sum(e.verdict IS 'true'), sum(e.verdict IS 'false'), "
            "sum(e.verdict IS NULL OR e.verdict = 'unsure') "
            f"FROM events e WHERE {where} GROUP BY bin"
        )
        found = {row[0]: row[1:] for row in self._rows(query, (bins - 1, bins, *values))}
        return [(i / bins, *found.get(i, (0, 0, 0))) for i in range(bins)]

    def counts_by_day(
        self, wanted: EventFilter, shift_s: float = 0.0
    ) -> list[tuple[int, int, int, int]]:
        """Events by day: (days since 1970 of a clock ``shift_s`` ahead of UTC, all, true, false),
        oldest first; days without any are left out."""
        where, values = wanted.where()
        query = (
            "SELECT cast((e.at_s + ?) / 86400 AS INT) AS day, count(*), "  # noqa: S608
            "sum(e.verdict IS 'true'), sum(e.verdict IS 'false') "
            f"FROM events e WHERE {where} GROUP BY day ORDER BY day"
        )
        return [(row[0], row[1], row[2], row[3]) for row in self._rows(query, (shift_s, *values))]

    def counts_by_slot(
        self, wanted: EventFilter, since_s: float, slot_s: int
    ) -> list[tuple[str, int, int, int, int]]:
        """Events by source and slot: (source, slots behind ``since_s``, all, true, false)."""
        where, values = wanted.where()
        query = (
            "SELECT e.source, cast((e.at_s - ?) / ? AS INT) AS slot, count(*), "  # noqa: S608
            "sum(e.verdict IS 'true'), sum(e.verdict IS 'false') "
            f"FROM events e WHERE {where} GROUP BY e.source, slot ORDER BY e.source, slot"
        )
        rows = self._rows(query, (since_s, slot_s, *values))
        return [(row[0], row[1], row[2], row[3], row[4]) for row in rows]

    def close(self) -> None:
        """Close this thread's connection."""
        if (mine := getattr(self._own, "base", None)) is not None:
            mine.close()
            del self._own.base

    @property
    def _db(self) -> sqlite3.Connection:
        if not hasattr(self._own, "base"):
            try:
                self._own.base = sqlite.open_read_only(self.path)
            except (OSError, sqlite3.Error) as error:
                raise StoreError(
                    f"{self.path}: can't be read as an event store: {error}"
                ) from error
        return self._own.base

    def _rows(self, query: str, values: Any) -> Iterator[tuple[Any, ...]]:
        try:
            yield from self._db.execute(query, values)
        except sqlite3.Error as error:
            raise StoreError(f"{self.path}: {error}") from error


_SELECT = (
    "SELECT e.id, e.source, e.onset_s, e.offset_s, e.onset_sample, e.sample_rate, e.rounds, "
    "e.score, e.threshold, e.level_dbfs, e.labels, m.name, m.version, m.sha256, e.seq, e.at_s, "
    "e.dated, e.curve, e.incident, e.verdict, e.cause, e.note, e.reviewer, e.reviewed_s, "
    "e.channel, c.event IS NOT NULL, coalesce(c.onset_s, 0), coalesce(c.redacted, 0) "
    "FROM events e JOIN models m ON m.key = e.model LEFT JOIN clips c ON c.event = e.id"
)


def _stored(row: tuple[Any, ...]) -> StoredEvent:
    (identity, source, _, offset_s, onset, rate, rounds, score, threshold, level, labels, name,
     version, sha, seq, at_s, dated, curve, incident, verdict, cause, note, reviewer, reviewed_s,
     channel, clip, clip_onset_s, redacted) = row  # fmt: skip
    offset = None if offset_s is None else round(offset_s * rate)
    detection = Detection(
        "onset" if offset is None else "final", onset, offset, offset or onset, rounds, score,
        threshold, level, json.loads(labels), channel,
    )  # fmt: skip
    model, unix_s = ModelId(name, version, sha), at_s if dated else None
    return StoredEvent(
        Event(detection, identity, source, rate, unix_s, model),
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
