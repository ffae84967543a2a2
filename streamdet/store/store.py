"""The event store, for writing: events, verdicts, clips and spectrograms in an SQLite file.

One connection writes, under a lock. Readers have connections of their own
(`streamdet.store.reader`). When a call has returned, its changes are on disk. Other processes may
use the file at the same time.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from streamdet import sqlite
from streamdet.detection.event import parse_utc
from streamdet.model.spectrogram import Spectrogram
from streamdet.store import schema
from streamdet.store.verdict import Verdict

_DAY_S = 86_400.0
_PRUNE_BATCH = 500
"""Rows deleted per transaction of `EventStore.prune`, so that other writers do not wait long."""


class StoreError(Exception):
    """The store can't be opened, read or written. The message is one line."""


class UnknownEventError(StoreError):
    """The store has no event with this id."""


@dataclass(frozen=True)
class ClipInfo:
    """A clip: its size, the event's position in it, its length, and whether speech was cut out."""

    bytes: int
    onset_s: float
    seconds: float
    redacted: bool


class EventStore:
    """The event store, open for writing.

    A damaged file is renamed and a new one takes its place; ``damaged_copy`` is the path of the
    renamed file, or None. With ``aside`` False a damaged file stays where it is and raises
    StoreError, as does a file that can't be opened or created.
    """

    def __init__(
        self, path: Path, clock: Callable[[], float] = time.time, *, aside: bool = True
    ) -> None:
        self.path, self._clock = path, clock
        self._lock = threading.RLock()
        self._model_keys: dict[tuple[str, ...], int] = {}
        try:
            self._db, self.damaged_copy = sqlite.open_database(path, aside=aside)
            schema.migrate(self._db)
        except (OSError, sqlite3.Error) as error:
            reason = getattr(error, "strerror", None) or error
            raise StoreError(f"{path}: can't be opened as an event store: {reason}") from error

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()

    def add(
        self,
        record: Mapping[str, Any],
        curve: list[tuple[float, float]] | None = None,
        incident: str | None = None,
    ) -> None:
        """Insert an event, in the form of `Event.record`, or update it and keep its verdict.

        ``curve`` is a list of (seconds after the onset, gunshot score). A final record replaces
        the onset record of the same event, never the other way round.
        """
        dated = record["time"] is not None
        time_s = parse_utc(record["time"]) if dated else self._clock()
        row = {key: record.get(key) for key in _RECORD_COLUMNS}
        row |= {
            "at_s": time_s,
            "dated": dated,
            "labels": _json(record["labels"]),
            "curve": None if curve is None else _json([list(pair) for pair in curve]),
            "incident": incident,
        }
        with self._transaction():
            row["model"] = self._model_key(record["model"])
            self._db.execute(_UPSERT, row)

    def review(self, event_id: str, verdict: Verdict) -> None:
        """Set the verdict on an event. Earlier verdicts stay in its history.

        Raises UnknownEventError.
        """
        now = self._clock()
        with self._transaction():
            row = self._db.execute(
                "SELECT source, verdict, cause FROM events WHERE id = ?", (event_id,)
            ).fetchone()
            if row is None:
                raise UnknownEventError(f"{self.path}: no event {event_id}")
            source, *previous = row
            values = (verdict.verdict, verdict.cause, verdict.note, verdict.reviewer, now)
            self._db.execute(
                "UPDATE events SET verdict = ?, cause = ?, note = ?, reviewer = ?, reviewed_s = ? "
                "WHERE id = ?",
                (*values, event_id),
            )
            self._db.execute(
                "INSERT INTO verdicts (event, verdict, cause, note, reviewer, given_s) "
                "VALUES (?, ?, ?, ?, ?, ?)",
                (event_id, *values),
            )
            self._count(source, "review", verdict.verdict)
            if verdict.verdict == "false" and previous != ["false", verdict.cause]:
                self._count(source, "false", verdict.cause or "other")

    def attach(
        self, event_id: str, clip: ClipInfo | None = None, spectrogram: Spectrogram | None = None
    ) -> None:
        """Record an event's clip, and store its spectrogram."""
        with self._transaction():
            if clip is not None:
                self._db.execute(
                    "INSERT OR REPLACE INTO clips VALUES (?, ?, ?, ?, ?, ?)",
                    (
                        event_id,
                        clip.bytes,
                        self._clock(),
                        clip.onset_s,
                        clip.seconds,
                        clip.redacted,
                    ),
                )
            if spectrogram is not None:
                self._db.execute(
                    "INSERT OR REPLACE INTO pictures VALUES (?, ?, ?, ?, ?)",
                    (
                        event_id,
                        spectrogram.onset_s,
                        spectrogram.hop_s,
                        spectrogram.bands,
                        spectrogram.pack(),
                    ),
                )

    def drop_clip(self, event_id: str) -> None:
        """Record that an event's clip is deleted. The event stays."""
        with self._transaction():
            self._db.execute("DELETE FROM clips WHERE event = ?", (event_id,))

    def clips(self) -> dict[str, tuple[int, float]]:
        """Return {event id: (bytes, creation time in UTC seconds)} of all clips, oldest first."""
        with self._locked():
            rows = self._db.execute("SELECT event, bytes, made_s FROM clips ORDER BY made_s")
            return {event_id: (size, created_s) for event_id, size, created_s in rows}

    def verdict_counts(self) -> dict[tuple[str, str, str], int]:
        """Return the number of verdicts ever given, changed verdicts and pruned events included.

        The keys are (source, "review", verdict) and, for false verdicts, (source, "false", cause).
        """
        with self._locked():
            rows = self._db.execute("SELECT source, kind, label, count FROM tallies")
            return {(source, kind, label): count for source, kind, label, count in rows}

    def recent_verdicts(self, days: float) -> dict[str, tuple[int, int]]:
        """Return {source: (true, false)}: the current verdicts on events of the last ``days``."""
        with self._locked():
            rows = self._db.execute(
                "SELECT source, sum(verdict = 'true'), sum(verdict = 'false') FROM events "
                "WHERE verdict IN ('true', 'false') AND at_s >= ? GROUP BY source",
                (self._clock() - days * _DAY_S,),
            )
            return {source: (true, false) for source, true, false in rows}

    def latest_verdicts(self, limit: int) -> dict[str, str]:
        """Return {event id: verdict} of the events with the newest ``limit`` verdicts."""
        with self._locked():
            rows = self._db.execute(
                "SELECT event, verdict FROM verdicts ORDER BY number DESC LIMIT ?", (limit,)
            ).fetchall()
        return dict(rows[::-1])

    def prune(self, days: float | None = None, max_events: int | None = None) -> list[str]:
        """Delete events older than ``days``, and all but the newest ``max_events``.

        Their verdicts and spectrograms are deleted too. Returns the ids of the events, so that the
        caller can delete their clips.
        """
        pruned: list[str] = []
        while batch := self._prunable(days, max_events, _PRUNE_BATCH):
            with self._transaction():
                for table, column in (
                    ("events", "id"), ("verdicts", "event"), ("pictures", "event"),
                    ("clips", "event"),
                ):  # fmt: skip
                    self._db.executemany(
                        f"DELETE FROM {table} WHERE {column} = ?",  # noqa: S608 - constant names
                        [(event_id,) for event_id in batch],
                    )
            pruned += batch
        if pruned:
            with self._locked():
                self._db.execute("PRAGMA incremental_vacuum").fetchall()
        return pruned

    def prunable(self, days: float | None = None, max_events: int | None = None) -> list[str]:
        """Return the ids of the events that `prune` would delete."""
        return self._prunable(days, max_events, -1)

    def _prunable(self, days: float | None, max_events: int | None, limit: int) -> list[str]:
        where, values = self._prune_condition(days, max_events)
        query = f"SELECT id FROM events WHERE {where} ORDER BY at_s, seq LIMIT ?"  # noqa: S608
        with self._locked():
            return [event_id for (event_id,) in self._db.execute(query, (*values, limit))]

    def _prune_condition(
        self, days: float | None, max_events: int | None
    ) -> tuple[str, tuple[float, ...]]:
        clauses, values = ["0"], []
        if days is not None:
            clauses.append("at_s < ?")
            values.append(self._clock() - days * _DAY_S)
        if max_events is not None:
            clauses.append(
                "(at_s, seq) <= (SELECT at_s, seq FROM events ORDER BY at_s DESC, seq DESC "
                "LIMIT 1 OFFSET ?)"
            )
            values.append(max_events)
        return " OR ".join(clauses), tuple(values)

    def _model_key(self, model: Mapping[str, str]) -> int:
        key = (model["name"], model["version"], model["sha256"])
        if key not in self._model_keys:
            self._db.execute(
                "INSERT OR IGNORE INTO models (name, version, sha256) VALUES (?, ?, ?)", key
            )
            (self._model_keys[key],) = self._db.execute(
                "SELECT key FROM models WHERE (name, version, sha256) = (?, ?, ?)", key
            ).fetchone()
        return self._model_keys[key]

    def _count(self, source: str, kind: str, label: str) -> None:
        self._db.execute(
            "INSERT INTO tallies VALUES (?, ?, ?, 1) "
            "ON CONFLICT (source, kind, label) DO UPDATE SET count = count + 1",
            (source, kind, label),
        )

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._locked():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                self._model_keys.clear()
                raise

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with self._lock:
            try:
                yield
            except sqlite3.Error as error:
                raise StoreError(f"{self.path}: {error}") from error


_RECORD_COLUMNS = (
    "id", "source", "onset_s", "offset_s", "onset_sample", "sample_rate", "rounds", "score",
    "threshold", "level_dbfs", "channel", "verified", "stage_score",
)  # fmt: skip
_COLUMNS = (*_RECORD_COLUMNS, "at_s", "dated", "labels", "curve", "incident", "model")
_UPDATED_COLUMNS = (
    "offset_s", "rounds", "score", "level_dbfs", "labels", "channel", "verified", "stage_score",
)  # fmt: skip
_UPSERT = (
    f"INSERT INTO events ({', '.join(_COLUMNS)}) "  # noqa: S608 - constant names
    f"VALUES ({', '.join(':' + name for name in _COLUMNS)}) ON CONFLICT (id) DO UPDATE SET "
    + ", ".join(f"{name} = excluded.{name}" for name in _UPDATED_COLUMNS)
    + ", curve = coalesce(excluded.curve, curve), incident = coalesce(excluded.incident, incident)"
    " WHERE excluded.offset_s IS NOT NULL OR events.offset_s IS NULL"
)


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))
