"""SQLite files: opened with an integrity check; a damaged file is moved aside."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

BUSY_S = 5.0


def open_database(path: Path, *, aside: bool = True) -> tuple[sqlite3.Connection, Path | None]:
    """Open a file for writing, and create it if needed.

    Returns the connection, and the path to which a damaged file was moved, or None. With ``aside``
    False a damaged file stays in place and raises sqlite3.DatabaseError. The connection uses a
    write-ahead log, syncs every commit, and may be handed from thread to thread. Only the owner
    can read a new file. Raises OSError or sqlite3.Error if the file cannot be opened.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not path.exists():
        path.touch(mode=0o600)
    try:
        return _connect(path), None
    except sqlite3.OperationalError:
        raise
    except sqlite3.DatabaseError:
        if not aside:
            raise
        moved_to = path.with_name(f"{path.name}.damaged-{time.time_ns()}")
        for suffix in ("-wal", "-shm", ""):  # SQLite would replay an old log into the new file
            part = path.with_name(path.name + suffix)
            if part.exists():
                part.rename(moved_to.with_name(moved_to.name + suffix))
        return _connect(path), moved_to


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(
        path, timeout=BUSY_S, isolation_level=None, check_same_thread=False
    )
    try:
        connection.execute("PRAGMA auto_vacuum=INCREMENTAL")
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA journal_size_limit=1000000")
        if connection.execute("PRAGMA quick_check").fetchone() != ("ok",):
            raise sqlite3.DatabaseError("the integrity check failed")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def open_read_only(path: Path) -> sqlite3.Connection:
    """Open an existing file for reading only. Raises sqlite3.Error if that fails."""
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=BUSY_S, isolation_level=None,
        check_same_thread=False,
    )  # fmt: skip
    try:
        connection.execute("PRAGMA query_only=ON")
        connection.execute("PRAGMA schema_version").fetchone()
    except sqlite3.Error:
        connection.close()
        raise
    return connection
