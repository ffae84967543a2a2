"""Records queued on disk until they are delivered, across outages, restarts and SIGKILL.

Each output has an SQLite file of its own. A record in it has been synced to disk.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import threading
from pathlib import Path
from typing import Any

from streamdet import sqlite
from streamdet.outputs.queue import (
    EVERYTHING,
    RETRY_FIRST_S,
    RETRY_MAX_S,
    FaultCallback,
    Output,
    OutputError,
    OutputQueue,
    Record,
    RecordFilter,
)

_SCHEMA = "CREATE TABLE IF NOT EXISTS waiting (id INTEGER PRIMARY KEY AUTOINCREMENT, record TEXT)"
_OLDEST = "SELECT id, record FROM waiting ORDER BY id LIMIT 1"


class SpoolError(Exception):
    """The spool cannot be opened. The message is one line."""


class Spool:
    """A first-in, first-out queue of records on disk, of at most ``max_bytes``.

    Beyond that the oldest records are removed and counted in ``dropped``. ``count``: records in
    the spool. ``damaged_copy``: where a damaged file was moved. ``added``: set when a record is
    appended. The file is opened by the first method that needs it, or by `open`. All methods may
    be called from any thread.
    """

    def __init__(self, path: Path, max_bytes: int) -> None:
        self.path, self._max_bytes = path, max_bytes
        self.count = self.dropped = self._bytes = 0
        self.damaged_copy: Path | None = None
        self.added = threading.Event()
        self._lock = threading.Lock()
        self._db: sqlite3.Connection | None = None
        self._closed = False

    def open(self) -> None:
        """Open the file; a new one is created if it is missing or damaged. Raises SpoolError."""
        try:
            self.recount()
        except OutputError as error:
            raise SpoolError(str(error)) from error

    def recount(self) -> None:
        """Count the records that are in the file. Raises OutputError if it cannot be read."""
        with self._lock:
            self.count, self._bytes = self._fetch(
                "SELECT count(*), coalesce(sum(length(record)), 0) FROM waiting"
            ) or (0, 0)

    def append(self, record: Record) -> None:
        """Add a record. Raises OutputError if the disk does not accept it."""
        text = json.dumps(record, separators=(",", ":"))
        with self._lock:
            self._fetch("INSERT INTO waiting (record) VALUES (?)", text)
            self.count += 1
            self._bytes += len(text)
            while self._bytes > self._max_bytes and self.count > 1:
                oldest = self._fetch(_OLDEST)
                if oldest is None:
                    break
                self._delete(*oldest)
                self.dropped += 1
        self.added.set()

    def oldest(self) -> tuple[int, Record] | None:
        """The oldest record, with its number; None if the spool is empty.

        Raises OutputError, as `remove` does, if the file cannot be read.
        """
        with self._lock:
            row = self._fetch(_OLDEST)
            if row is None:
                self.count = self._bytes = 0
        return None if row is None else (row[0], json.loads(row[1]))

    def remove(self, number: int) -> None:
        """Remove a record that has been delivered."""
        with self._lock:
            row = self._fetch("SELECT id, record FROM waiting WHERE id = ?", number)
            if row is not None:
                self._delete(*row)

    def close(self) -> None:
        """Close the file for good. May be called twice."""
        with self._lock:
            self._closed = True
            if self._db is not None:
                self._db.close()
                self._db = None

    def _delete(self, number: int, text: str) -> None:
        self._fetch("DELETE FROM waiting WHERE id = ?", number)
        self.count -= 1
        self._bytes -= len(text)

    def _fetch(self, statement: str, *values: str | int) -> tuple[Any, ...] | None:
        try:
            return self._connection().execute(statement, values).fetchone()
        except sqlite3.Error as error:
            raise OutputError(f"{self.path}: {error}") from error

    def _connection(self) -> sqlite3.Connection:
        if self._closed:
            raise OutputError(f"{self.path}: the spool is closed")
        if self._db is None:
            try:
                self._db, self.damaged_copy = sqlite.open_database(self.path)
                self._db.execute(_SCHEMA)
            except (OSError, sqlite3.Error) as error:
                reason = getattr(error, "strerror", None) or error
                raise OutputError(f"{self.path}: cannot open the spool: {reason}") from error
        return self._db


class _SpoolWriter(Output):
    """Appends records to a spool."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool

    def deliver(self, record: Record) -> None:
        self._spool.append(record)


class SpooledOutputQueue:
    """An `OutputQueue` that writes records to a spool; another thread delivers them from there.

    The output may take any time, and the records survive a restart.
    """

    def __init__(
        self,
        name: str,
        output: Output,
        spool: Spool,
        length: int,
        wanted: RecordFilter = EVERYTHING,
        on_change: FaultCallback = lambda _: None,
    ) -> None:
        self.name, self.output, self.spool = name, output, spool
        self.fault: str | None = None
        self._on_change = on_change
        self._counts = {"delivered": 0, "failed": 0, "rejected": 0}
        self._intake = OutputQueue(f"{name}-spool", _SpoolWriter(spool), length, wanted, on_change)
        self._stopping = threading.Event()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"streamdet-{name}", daemon=True)

    def open(self) -> None:
        """Open the spool, to find out whether that is possible. Raises SpoolError."""
        self.spool.open()

    def start(self) -> None:
        """Start the output and its threads. Records left by an earlier run are delivered first."""
        with contextlib.suppress(OutputError):  # the delivery thread reports an unreadable file
            self.spool.recount()
        if (copy := self.spool.damaged_copy) is not None:
            self._on_change(f"the spool was damaged; moved to {copy}")
        self.output.start()
        self._intake.start()
        self._thread.start()

    def offer(self, record: Record) -> None:
        """Queue a record if it is wanted; returns at once."""
        self._intake.offer(record)

    @property
    def counts(self) -> dict[str, int]:
        """Numbers of records delivered, rejected and dropped, and of failed tries."""
        dropped = self._intake.counts["dropped"] + self.spool.dropped
        failed = self._counts["failed"] + self._intake.counts["failed"]
        return {**self._counts, "failed": failed, "dropped": dropped}

    @property
    def length(self) -> int:
        """Number of records not delivered yet, in memory and in the spool."""
        return self._intake.length + self.spool.count

    def close(self, timeout_s: float) -> int:
        """Write all records to the spool, deliver for at most ``timeout_s`` seconds, and close.

        Returns the number of records lost: neither delivered nor in the spool. Without `start`,
        this closes the spool and the output.
        """
        if self._thread.ident is None:
            self.output.close()
            self.spool.close()
            return self._intake.length
        lost = self._intake.close(timeout_s)
        self._closing.set()
        self.spool.added.set()
        self._thread.join(timeout_s)
        self._stopping.set()
        self.spool.added.set()
        self._thread.join(0.2)
        return lost

    def _run(self) -> None:
        pause_s = RETRY_FIRST_S
        try:
            while not self._stopping.is_set():
                self.spool.added.clear()
                delivered = self._deliver_oldest()
                if delivered is None:
                    if self._closing.is_set():
                        return
                    self.spool.added.wait()
                elif delivered:
                    pause_s = RETRY_FIRST_S
                elif self._closing.is_set() or self._stopping.wait(pause_s):
                    return
                else:
                    pause_s = min(RETRY_MAX_S, 2 * pause_s)
        finally:
            self.output.close()
            self.spool.close()

    def _deliver_oldest(self) -> bool | None:
        """Whether the oldest record has left the spool; None if the spool is empty."""
        try:
            oldest = self.spool.oldest()
            if oldest is None:
                return None
            number, record = oldest
            try:
                self.output.deliver(record)
                self._counts["delivered"] += 1
                self._set_fault(None)
            except OutputError as error:
                if not error.final:
                    raise
                self._counts["failed"] += 1
                self._counts["rejected"] += 1
                self._set_fault(str(error))
            self.spool.remove(number)
        except OutputError as error:
            self._counts["failed"] += 1
            self._set_fault(str(error))
            return False
        return True

    def _set_fault(self, fault: str | None) -> None:
        if fault != self.fault:
            self.fault = fault
            self._on_change(fault)
