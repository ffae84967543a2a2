"""What a scan has done, in an SQLite file: an interrupted one goes on where it was."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from streamdet import sqlite
from streamdet.scan.discovery import MediaFile
from streamdet.scan.worker import FileResult

_VERSION = 1
_TABLES = """
CREATE TABLE files (
  wishes TEXT NOT NULL,            -- how it was heard, by its hash
  name TEXT NOT NULL,
  size INTEGER NOT NULL, stamp TEXT NOT NULL,
  sha256 TEXT NOT NULL,
  state TEXT NOT NULL,             -- heard, damaged, failed
  fault TEXT NOT NULL,
  seconds REAL NOT NULL,
  events TEXT NOT NULL,            -- JSON: the records
  PRIMARY KEY (wishes, name)
) WITHOUT ROWID;
CREATE INDEX files_by_size ON files (wishes, size)
"""
_COLUMNS = "PRAGMA table_info(files)"
_SELECT = "SELECT name, size, stamp, sha256, state, fault, seconds, events FROM files "


class ManifestError(Exception):
    """The manifest can't be had, or did not take something; one line."""


class Manifest:
    """Every row that `put` has returned for is on disk. Raises ManifestError."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._db, _ = sqlite.open_database(path, aside=False)
            (version,) = self._db.execute("PRAGMA user_version").fetchone()
            if not version:
                for statement in _TABLES.split(";\n"):
                    self._db.execute(statement)
                self._db.execute(f"PRAGMA user_version={_VERSION}")
            elif version != _VERSION or not self._db.execute(_COLUMNS).fetchone():
                raise ManifestError(f"{path}: is no manifest of a scan that this streamdet knows")
        except (OSError, sqlite3.Error) as error:
            said = getattr(error, "strerror", None) or error
            raise ManifestError(f"{path}: no manifest can be kept there: {said}") from error

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def known(self, wishes: str, found: MediaFile) -> FileResult | None:
        """What came of the file as it is now, None where it has changed or was never heard."""
        with self._reading():
            row = self._db.execute(
                _SELECT + "WHERE (wishes, name, size, stamp) = (?, ?, ?, ?)",
                (wishes, found.name, found.size, found.stamp),
            ).fetchone()
        return None if row is None else _file_result(row, found)

    def of_size(self, wishes: str, size: int) -> Iterator[FileResult]:
        """Whatever else was heard whole, or as far as it goes, that has so many bytes."""
        with self._reading():
            rows = self._db.execute(
                _SELECT + "WHERE (wishes, size) = (?, ?) AND state != 'failed'", (wishes, size)
            ).fetchall()
        for row in rows:
            yield _file_result(row, MediaFile(row[0], Path(row[0]).name, row[1], row[2]))

    def put(self, wishes: str, heard: FileResult) -> None:
        """Remember what came of a file."""
        found = heard.file
        events = json.dumps(list(heard.events), separators=(",", ":"))
        row = (wishes, found.name, found.size, found.stamp, heard.sha256, heard.state, heard.fault,
               heard.seconds, events)  # fmt: skip
        with self._reading():
            self._db.execute("REPLACE INTO files VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", row)

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise ManifestError(f"{self.path}: {error}") from error


def _file_result(row: tuple, found: MediaFile) -> FileResult:
    _, _, _, sha256, state, fault, seconds, events = row
    return FileResult(found, state, sha256, seconds, tuple(json.loads(events)), fault)
