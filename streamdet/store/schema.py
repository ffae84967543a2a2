"""The tables of the event store, and the migrations that bring an older file up to date."""

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
  at_s REAL NOT NULL,              -- UTC of the onset, or of the insert if the onset is unknown
  dated INTEGER NOT NULL,          -- 1 if at_s is the onset
  onset_s REAL NOT NULL, offset_s REAL,
  onset_sample INTEGER NOT NULL, sample_rate INTEGER NOT NULL,
  rounds INTEGER NOT NULL, score REAL NOT NULL, threshold REAL NOT NULL,
  level_dbfs REAL NOT NULL,
  labels TEXT NOT NULL,            -- JSON: highest probability of each label
  curve TEXT,                      -- JSON: [time_s, probability] around the event
  model INTEGER NOT NULL REFERENCES models (key),
  incident TEXT,
  verdict TEXT, cause TEXT, note TEXT, reviewer TEXT, reviewed_s REAL
);
-- with score and verdict, these indexes cover the charts: a year is counted from them alone
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
  onset_s REAL NOT NULL,           -- position of the event in the clip
  seconds REAL NOT NULL, redacted INTEGER NOT NULL
);
CREATE INDEX clips_by_age ON clips (made_s);
CREATE TABLE pictures (event TEXT PRIMARY KEY, onset_s REAL NOT NULL, hop_s REAL NOT NULL,
                       bands INTEGER NOT NULL,
                       levels BLOB NOT NULL);
"""

_CHANNEL = "ALTER TABLE events ADD COLUMN channel TEXT"
_STAGES = """
ALTER TABLE events ADD COLUMN verified INTEGER;
ALTER TABLE events ADD COLUMN stage_score REAL;
"""

MIGRATIONS = (_FIRST, _CHANNEL, _STAGES)
"""Number i takes a file from version i to i + 1. A released migration is never changed."""


class TooNewError(sqlite3.DatabaseError):
    """A later version of streamdet wrote the file."""


def version(connection: sqlite3.Connection) -> int:
    """Return the number of migrations that a file has had."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def migrate(connection: sqlite3.Connection) -> None:
    """Bring a file up to date, one transaction per migration. Raises TooNewError."""
    current = version(connection)
    if current > len(MIGRATIONS):
        raise TooNewError(
            f"a later version of streamdet wrote it (schema {current}; this one knows up to "
            f"{len(MIGRATIONS)}). Update streamdet."
        )
    for number in range(current, len(MIGRATIONS)):
        connection.execute("BEGIN IMMEDIATE")
        try:
            if version(connection) == number:  # otherwise another process has just migrated it
                for statement in _statements(MIGRATIONS[number]):
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version={number + 1}")
            connection.execute("COMMIT")
        except sqlite3.Error:
            connection.execute("ROLLBACK")
            raise


def _statements(script: str) -> list[str]:
    return [part for part in script.split(";\n") if part.strip()]
