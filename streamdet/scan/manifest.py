"""The results of a scan in an SQLite file, so that an interrupted scan can be continued."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from streamdet import sqlite
from streamdet.scan.discovery import MediaFile
from streamdet.scan.worker import FileResult

_VERSION = 2
_SCHEMA = """
CREATE TABLE files (
  settings TEXT NOT NULL,          -- ScanSettings.key
  name TEXT NOT NULL,
  size INTEGER NOT NULL, stamp TEXT NOT NULL,
  sha256 TEXT NOT NULL,
  state TEXT NOT NULL,             -- analysed, damaged, failed
  fault TEXT NOT NULL,
  seconds REAL NOT NULL,
  events TEXT NOT NULL,            -- a JSON array of event records
  PRIMARY KEY (settings, name)
) WITHOUT ROWID;
CREATE INDEX files_by_size ON files (settings, size)
"""
_MIGRATION_FROM_1 = """
ALTER TABLE files RENAME COLUMN wishes TO settings;
UPDATE files SET state = 'analysed' WHERE state = 'heard'
"""
_SELECT = "SELECT name, size, stamp, sha256, state, fault, seconds, events FROM files "


class ManifestError(Exception):
    """The manifest cannot be opened, read or written; the message is one line."""


class Manifest:
    """A table of file results, each stored under the settings that produced it.

    A result is on disk when `put` returns. A manifest of an earlier version is migrated when it is
    opened. All methods raise ManifestError.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._db, _ = sqlite.open_database(path, aside=False)
            self._migrate()
        except (OSError, sqlite3.Error) as error:
            reason = getattr(error, "strerror", None) or error
            raise ManifestError(f"{path}: cannot be used as a manifest: {reason}") from error

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def result(self, settings: str, file: MediaFile) -> FileResult | None:
        """The result of a file under these settings. None if the file is new or has changed."""
        with self._errors_converted():
            row = self._db.execute(
                _SELECT + "WHERE (settings, name, size, stamp) = (?, ?, ?, ?)",
                (settings, file.name, file.size, file.stamp),
            ).fetchone()
        return None if row is None else _file_result(row, file)

    def results_of_size(self, settings: str, size: int) -> Iterator[FileResult]:
        """The results of all files with this size in bytes, except those that failed."""
        with self._errors_converted():
            rows = self._db.execute(
                _SELECT + "WHERE (settings, size) = (?, ?) AND state != 'failed'", (settings, size)
            ).fetchall()
        for row in rows:
            yield _file_result(row, MediaFile(row[0], Path(row[0]).name, row[1], row[2]))

    def put(self, settings: str, result: FileResult) -> None:
        """Store the result of a file, replacing an earlier one."""
        file = result.file
        events = json.dumps(list(result.events), separators=(",", ":"))
        row = (settings, file.name, file.size, file.stamp, result.sha256, result.state,
               result.fault, result.seconds, events)  # fmt: skip
        with self._errors_converted():
            self._db.execute("REPLACE INTO files VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", row)

    def _migrate(self) -> None:
        self._db.execute("BEGIN IMMEDIATE")  # another scan may open the same file
        try:
            (version,) = self._db.execute("PRAGMA user_version").fetchone()
            names = {name for (name,) in self._db.execute("SELECT name FROM sqlite_master")}
            is_manifest = "files_by_size" in names if version else not names
            if not is_manifest:
                raise ManifestError(f"{self.path}: not a manifest of `streamdet scan`")
            if version > _VERSION:
                raise ManifestError(f"{self.path}: written by a later version of streamdet")
            if version < _VERSION:
                script = _MIGRATION_FROM_1 if version else _SCHEMA
                for statement in script.split(";\n"):
                    self._db.execute(statement)
                self._db.execute(f"PRAGMA user_version={_VERSION}")
            self._db.execute("COMMIT")
        except BaseException:
            self._db.close()
            raise

    @contextmanager
    def _errors_converted(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise ManifestError(f"{self.path}: {error}") from error


def _file_result(row: tuple, file: MediaFile) -> FileResult:
    _, _, _, sha256, state, fault, seconds, events = row
    return FileResult(file, state, sha256, seconds, tuple(json.loads(events)), fault)
