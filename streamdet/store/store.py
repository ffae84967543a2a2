"""The event store: every event, what was said of it, and what is kept of its sound.

One connection writes, under a lock; whoever reads has one of its own (`streamdet.store.reader`).
What a call that has returned wrote is on disk. Another process may have the file open too.
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
"""Rows that one transaction of a prune takes, that a verdict need not wait long for it."""


class StoreError(Exception):
    """The store can't be had, or did not take something; one line."""


class UnknownEventError(StoreError):
    """No event has that id."""


@dataclass(frozen=True)
class ClipInfo:
    """What is known of a clip: its size, the event's place in it, and whether speech was cut."""

    bytes: int
    onset_s: float
    seconds: float
    redacted: bool


class EventStore:
    """Open for writing. ``set_aside`` is where a damaged file was put, of which a new one took
    the place (with ``aside`` False it is left, and is an error); raises StoreError where there can
    be none."""

    def __init__(
        self, path: Path, clock: Callable[[], float] = time.time, *, aside: bool = True
    ) -> None:
        self.path, self._clock = path, clock
        self._lock = threading.RLock()
        self._models: dict[tuple[str, ...], int] = {}
        try:
            self._db, self.damaged_copy = sqlite.open_database(path, aside=aside)
            schema.migrate(self._db)
        except (OSError, sqlite3.Error) as error:
            said = getattr(error, "strerror", None) or error
            raise StoreError(f"{path}: no event store can be kept there: {said}") from error

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
        """Take an event as `Event.record` gives it. Its later line goes over its earlier one, and
        what was said of it stays."""
        dated = record["time"] is not None
        at_s = parse_utc(record["time"]) if dated else self._clock()
        row = {key: record.get(key) for key in _PLAIN}
        row |= {
            "at_s": at_s,
            "dated": dated,
            "labels": _json(record["labels"]),
            "curve": None if curve is None else _json([list(pair) for pair in curve]),
            "incident": incident,
        }
        with self._writing():
            row["model"] = self._model(record["model"])
            self._db.execute(_ADD, row)

    def review(self, event: str, verdict: Verdict) -> None:
        """Take a verdict on an event in place of any before it, which is kept beside it; raises
        UnknownEventError."""
        now = self._clock()
        with self._writing():
            found = self._db.execute(
                "SELECT source, verdict, cause FROM events WHERE id = ?", (event,)
            ).fetchone()
            if found is None:
                raise UnknownEventError(f"no event {event} in {self.path}")
            source, *previous = found
            told = (verdict.verdict, verdict.cause, verdict.note, verdict.reviewer, now)
            self._db.execute(
                "UPDATE events SET verdict = ?, cause = ?, note = ?, reviewer = ?, reviewed_s = ? "
                "WHERE id = ?",
                (*told, event),
            )
            self._db.execute(
                "INSERT INTO verdicts (event, verdict, cause, note, reviewer, given_s) "
                "VALUES (?, ?, ?, ?, ?, ?)",
                (event, *told),
            )
            self._count(source, "review", verdict.verdict)
            if verdict.verdict == "false" and previous != ["false", verdict.cause]:
                self._count(source, "false", verdict.cause or "other")

    def attach(
        self, event: str, clip: ClipInfo | None = None, spectrogram: Spectrogram | None = None
    ) -> None:
        """Note an event's clip, or keep its picture."""
        with self._writing():
            if clip is not None:
                self._db.execute(
                    "INSERT OR REPLACE INTO clips VALUES (?, ?, ?, ?, ?, ?)",
                    (event, clip.bytes, self._clock(), clip.onset_s, clip.seconds, clip.redacted),
                )
            if spectrogram is not None:
                self._db.execute(
                    "INSERT OR REPLACE INTO pictures VALUES (?, ?, ?, ?, ?)",
                    (
                        event,
                        spectrogram.onset_s,
                        spectrogram.hop_s,
                        spectrogram.bands,
                        spectrogram.pack(),
                    ),
                )

    def drop_clip(self, event: str) -> None:
        """A clip is no more; its event stays."""
        with self._writing():
            self._db.execute("DELETE FROM clips WHERE event = ?", (event,))

    def clips(self) -> dict[str, tuple[int, float]]:
        """(bytes, when it was made) of every clip, oldest first, by event."""
        with self._reading():
            rows = self._db.execute("SELECT event, bytes, made_s FROM clips ORDER BY made_s")
            return {event: (size, made) for event, size, made in rows}

    def verdict_counts(self) -> dict[tuple[str, str, str], int]:
        """What was ever said, by (source, "review" or "false", verdict or cause): a verdict that
        is changed counts again, an event that is pruned stays counted."""
        with self._reading():
            rows = self._db.execute("SELECT source, kind, label, count FROM tallies")
            return {(source, kind, label): count for source, kind, label, count in rows}

    def recent_verdicts(self, days: float) -> dict[str, tuple[int, int]]:
        """(true, false) of the events of the last days, by source, as they are judged now."""
        with self._reading():
            rows = self._db.execute(
                "SELECT source, sum(verdict = 'true'), sum(verdict = 'false') FROM events "
                "WHERE verdict IN ('true', 'false') AND at_s >= ? GROUP BY source",
                (self._clock() - days * _DAY_S,),
            )
            return {source: (yes, no) for source, yes, no in rows}

    def prune(self, days: float | None = None, max_events: int | None = None) -> list[str]:
        """Forget events that are older than so many days or beyond the newest ``most``, with
        their verdicts and pictures; returns their ids, since their clips have to go too."""
        gone: list[str] = []
        while some := self._oldest(days, max_events, _PRUNE_BATCH):
            with self._writing():
                for table, column in (
                    ("events", "id"), ("verdicts", "event"), ("pictures", "event"),
                    ("clips", "event"),
                ):  # fmt: skip
                    self._db.executemany(
                        f"DELETE FROM {table} WHERE {column} = ?",  # noqa: S608 - names of ours
                        [(one,) for one in some],
                    )
            gone += some
        if gone:
            with self._reading():
                self._db.execute("PRAGMA incremental_vacuum").fetchall()
        return gone

    def prunable(self, days: float | None = None, max_events: int | None = None) -> list[str]:
        """The ids of the events that `prune` would forget."""
        return self._oldest(days, max_events, -1)

    def _oldest(self, days: float | None, most: int | None, limit: int) -> list[str]:
        where, values = self._older(days, most)
        query = f"SELECT id FROM events WHERE {where} ORDER BY at_s, seq LIMIT ?"  # noqa: S608
        with self._reading():
            return [one for (one,) in self._db.execute(query, (*values, limit))]

    def _older(self, days: float | None, most: int | None) -> tuple[str, tuple[float, ...]]:
        clauses, values = ["0"], []
        if days is not None:
            clauses.append("at_s < ?")
            values.append(self._clock() - days * _DAY_S)
        if most is not None:
            clauses.append(
                "(at_s, seq) <= (SELECT at_s, seq FROM events ORDER BY at_s DESC, seq DESC "
                "LIMIT 1 OFFSET ?)"
            )
            values.append(most)
        return " OR ".join(clauses), tuple(values)

    def _model(self, named: Mapping[str, str]) -> int:
        key = (named["name"], named["version"], named["sha256"])
        if key not in self._models:
            self._db.execute(
                "INSERT OR IGNORE INTO models (name, version, sha256) VALUES (?, ?, ?)", key
            )
            (self._models[key],) = self._db.execute(
                "SELECT key FROM models WHERE (name, version, sha256) = (?, ?, ?)", key
            ).fetchone()
        return self._models[key]

    def _count(self, source: str, kind: str, label: str) -> None:
        self._db.execute(
            "INSERT INTO tallies VALUES (?, ?, ?, 1) "
            "ON CONFLICT (source, kind, label) DO UPDATE SET count = count + 1",
            (source, kind, label),
        )

    @contextmanager
    def _writing(self) -> Iterator[None]:
        with self._reading():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                self._models.clear()
                raise

    @contextmanager
    def _reading(self) -> Iterator[None]:
        with self._lock:
            try:
                yield
            except sqlite3.Error as error:
                raise StoreError(f"{self.path}: {error}") from error


_PLAIN = (
    "id", "source", "onset_s", "offset_s", "onset_sample", "sample_rate", "rounds", "score",
    "threshold", "level_dbfs", "channel",
)  # fmt: skip
_COLUMNS = (*_PLAIN, "at_s", "dated", "labels", "curve", "incident", "model")
_NEWER = ("offset_s", "rounds", "score", "level_dbfs", "labels", "channel")
_ADD = (
    f"INSERT INTO events ({', '.join(_COLUMNS)}) "  # noqa: S608 - names of ours
    f"VALUES ({', '.join(':' + name for name in _COLUMNS)}) ON CONFLICT (id) DO UPDATE SET "
    + ", ".join(f"{name} = excluded.{name}" for name in _NEWER)
    + ", curve = coalesce(excluded.curve, curve), incident = coalesce(excluded.incident, incident)"
    " WHERE excluded.offset_s IS NOT NULL OR events.offset_s IS NULL"
)


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))
