"""An SQLite file that is looked over as it is opened; a damaged one is put out of the way."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

BUSY_S = 5.0


def open_database(path: Path, *, aside: bool = True) -> tuple[sqlite3.Connection, Path | None]:
    """A connection (write-ahead log, every commit synced, safe to hand between threads), and where
    the file that was there lies now if it was damaged; with ``aside`` False that is an error.

    A new file is its owner's alone. Raises OSError or sqlite3.Error where none can be had.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not path.exists():
        path.touch(mode=0o600)
    try:
        return _connected(path), None
    except sqlite3.OperationalError:
        raise
    except sqlite3.DatabaseError:
        if not aside:
            raise
        there = path.with_name(f"{path.name}.damaged-{time.time_ns()}")
        for suffix in ("-wal", "-shm", ""):  # a log of the old file must not be read into the new
            part = path.with_name(path.name + suffix)
            if part.exists():
                part.rename(there.with_name(there.name + suffix))
        return _connected(path), there


def _connected(path: Path) -> sqlite3.Connection:
    base = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
    try:
        base.execute("PRAGMA auto_vacuum=INCREMENTAL")
        base.execute("PRAGMA journal_mode=WAL")
        base.execute("PRAGMA synchronous=FULL")
        base.execute("PRAGMA journal_size_limit=1000000")
        if base.execute("PRAGMA quick_check").fetchone() != ("ok",):
            raise sqlite3.DatabaseError("damaged")
    except sqlite3.Error:
        base.close()
        raise
    return base


def open_read_only(path: Path) -> sqlite3.Connection:
    """A connection that only reads; raises sqlite3.Error where there is none to be had."""
    base = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=BUSY_S, isolation_level=None,
        check_same_thread=False,
    )  # fmt: skip
    try:
        base.execute("PRAGMA query_only=ON")
        base.execute("PRAGMA schema_version").fetchone()
    except sqlite3.Error:
        base.close()
        raise
    return base
