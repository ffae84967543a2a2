"""The tables of an event store, and how an older file comes to have them."""

from __future__ import annotations

import sqlite3

_FIRST = """
CREATE TABLE models (
  key INTEGER PRIMARY KEY,
  name TEXT NOT NULL, version TEXT NOT NULL, sha256 TEXT NOT NULL,
  UNIQUE (name, version, sha256)
);
CREATE TABLE events (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL UNIQUE,
  source TEXT NOT NULL,
  at_s REAL NOT NULL,              -- UTC of the onset; of the entry, where that is not known
  dated INTEGER NOT NULL,          -- whether it is the onset's
  onset_s REAL NOT NULL, offset_s REAL,
  onset_sample INTEGER NOT NULL, sample_rate INTEGER NOT NULL,
  rounds INTEGER NOT NULL, score REAL NOT NULL, threshold REAL NOT NULL,
  level_dbfs REAL NOT NULL,
  labels TEXT NOT NULL,            -- JSON: each label's best probability
  curve TEXT,                      -- JSON: [time_s, probability] around the event
  model INTEGER NOT NULL REFERENCES models (key),
  incident TEXT,
  verdict TEXT, cause TEXT, note TEXT, reviewer TEXT, reviewed_s REAL
);
-- score and verdict are in them so that a chart of a year reads no event
CREATE INDEX events_by_time ON events (at_s, seq, score, verdict);
CREATE INDEX events_by_source ON events (source, at_s, seq, score, verdict);
CREATE INDEX events_by_verdict ON events (verdict, at_s, seq);
CREATE INDEX events_by_incident ON events (incident) WHERE incident IS NOT NULL;
CREATE TABLE verdicts (
  number INTEGER PRIMARY KEY AUTOINCREMENT,
  event TEXT NOT NULL,
  verdict TEXT NOT NULL, cause TEXT, note TEXT, reviewer TEXT, given_s REAL NOT NULL
);
CREATE INDEX verdicts_by_event ON verdicts (event, number);
CREATE TABLE tallies (
  source TEXT NOT NULL, kind TEXT NOT NULL, label TEXT NOT NULL, count INTEGER NOT NULL,
  PRIMARY KEY (source, kind, label)
);
CREATE TABLE clips (
  event TEXT PRIMARY KEY,
  bytes INTEGER NOT NULL, made_s REAL NOT NULL,
  onset_s REAL NOT NULL,           -- where in the clip the event begins
  seconds REAL NOT NULL, redacted INTEGER NOT NULL
);
CREATE INDEX clips_by_age ON clips (made_s);
CREATE TABLE pictures (event TEXT PRIMARY KEY, onset_s REAL NOT NULL, hop_s REAL NOT NULL,
                       bands INTEGER NOT NULL,
                       levels BLOB NOT NULL);
"""

_CHANNEL = "ALTER TABLE events ADD COLUMN channel TEXT"

MIGRATIONS = (_FIRST, _CHANNEL)
"""Each brings a file from its place in the list to the next; none is ever changed."""


class TooNewError(sqlite3.DatabaseError):
    """The file was written by a later version."""


def version(base: sqlite3.Connection) -> int:
    """How many migrations a file has had."""
    return int(base.execute("PRAGMA user_version").fetchone()[0])


def migrate(base: sqlite3.Connection) -> None:
    """Bring a file up to date, one whole step after another; raises TooNewError."""
    had = version(base)
    if had > len(MIGRATIONS):
        raise TooNewError(f"it is of a later version ({had}) than this streamdet knows")
    for number in range(had, len(MIGRATIONS)):
        base.execute("BEGIN IMMEDIATE")
        try:
            if version(base) == number:  # else another process was faster
                for statement in _statements(MIGRATIONS[number]):
                    base.execute(statement)
                base.execute(f"PRAGMA user_version={number + 1}")
            base.execute("COMMIT")
        except sqlite3.Error:
            base.execute("ROLLBACK")
            raise


def _statements(script: str) -> list[str]:
    return [part for part in script.split(";\n") if part.strip()]
