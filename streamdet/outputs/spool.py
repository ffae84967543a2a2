"""Records that wait on disk until they are delivered: over outages, restarts and SIGKILL.

An SQLite file for each output; a record that is in it has been synced to the disk.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

from streamdet import sqlite
from streamdet.outputs.queue import (
    RETRY_FIRST_S,
    RETRY_MAX_S,
    Output,
    OutputError,
    OutputQueue,
    Record,
)

_SCHEMA = "CREATE TABLE IF NOT EXISTS waiting (id INTEGER PRIMARY KEY AUTOINCREMENT, record TEXT)"


class SpoolError(Exception):
    """There can be no spool here; one line."""


class Spool:
    """Records in the order in which they came, at most ``max_bytes`` of them: beyond that the
    oldest go, and are counted in ``dropped``. Safe from any thread."""

    def __init__(self, path: Path, max_bytes: int) -> None:
        self.path, self._max_bytes = path, max_bytes
        self.dropped = 0
        self._lock = threading.Lock()
        self._closed = False
        self.added = threading.Event()
        try:
            self._db, self.damaged_copy = sqlite.open_database(path)
            self._db.execute(_SCHEMA)
            (self.count, self._bytes) = self._db.execute(
                "SELECT count(*), coalesce(sum(length(record)), 0) FROM waiting"
            ).fetchone()
        except (OSError, sqlite3.Error) as error:
            said = getattr(error, "strerror", None) or error
            raise SpoolError(f"{path}: no spool can be kept there: {said}") from error

    def append(self, record: Record) -> None:
        """Keep a record; raises OutputError where the disk does not take it."""
        text = json.dumps(record, separators=(",", ":"))
        with self._lock:
            try:
                self._db.execute("INSERT INTO waiting (record) VALUES (?)", (text,))
            except sqlite3.Error as error:
                raise OutputError(f"the spool: {error}") from error
            self.count += 1
            self._bytes += len(text)
            while self._bytes > self._max_bytes and self.count > 1:
                self._remove("SELECT id, length(record) FROM waiting ORDER BY id LIMIT 1", ())
                self.dropped += 1
        self.added.set()

    def oldest(self) -> tuple[int, Record] | None:
        """The record that has waited longest, by its number; None where there is none. Raises
        OutputError, as `remove` does, where the disk does not let it be read."""
        with self._lock:
            try:
                row = self._db.execute(
                    "SELECT id, record FROM waiting ORDER BY id LIMIT 1"
                ).fetchone()
            except sqlite3.Error as error:
                raise OutputError(f"the spool: {error}") from error
        return None if row is None else (row[0], json.loads(row[1]))

    def remove(self, number: int) -> None:
        """It is delivered."""
        with self._lock:
            self._remove("SELECT id, length(record) FROM waiting WHERE id = ?", (number,))

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._db.close()

    def _remove(self, which: str, values: tuple[int, ...]) -> None:
        try:
            row = self._db.execute(which, values).fetchone()
            if row is None:
                return
            self._db.execute("DELETE FROM waiting WHERE id = ?", (row[0],))
        except sqlite3.Error as error:
            raise OutputError(f"the spool: {error}") from error
        self.count -= 1
        self._bytes -= row[1]


class _SpoolWriter(Output):
    """Puts what comes into the spool."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool

    def deliver(self, record: Record) -> None:
        self._spool.append(record)


class SpooledOutputQueue:
    """An `Outbox` whose records are put on disk first, and delivered from there by another thread:
    ``output`` may take as long as it likes."""

    def __init__(
        self,
        name: str,
        output: Output,
        spool: Spool,
        length: int,
        phase: str = "both",
        on_change: Callable[[str | None], None] = lambda _: None,
        kinds: str = "events",
    ) -> None:
        self.name, self.output, self.phase, self.spool = name, output, phase, spool
        self.fault: str | None = None
        self._on_change = on_change
        self._counts = {"delivered": 0, "failed": 0, "rejected": 0}
        self._intake = OutputQueue(
            f"{name}-spool", _SpoolWriter(spool), length, phase, on_change, kinds
        )
        self._stopping = threading.Event()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"streamdet-{name}", daemon=True)

    def start(self) -> None:
        """Begin, with what an earlier run has left."""
        self._intake.start()
        self._thread.start()

    def offer(self, record: Record) -> None:
        """Put a record down, if its kind and phase are wanted here."""
        self._intake.offer(record)

    @property
    def counts(self) -> dict[str, int]:
        """Records delivered, rejected and dropped, and tries that failed."""
        lost = self._intake.counts["dropped"] + self.spool.dropped
        failed = self._counts["failed"] + self._intake.counts["failed"]
        return {**self._counts, "failed": failed, "dropped": lost}

    @property
    def length(self) -> int:
        """Records that are not delivered yet."""
        return self._intake.length + self.spool.count

    def close(self, patience_s: float) -> int:
        """Put all on disk, deliver for at most so long, and leave the rest there; returns how many
        records neither was done with."""
        lost = self._intake.close(patience_s)
        self._closing.set()
        self.spool.added.set()
        self._thread.join(patience_s)
        self._stopping.set()
        self.spool.added.set()
        self._thread.join(0.2)
        if not self._thread.is_alive():
            self.spool.close()
        return lost

    def _run(self) -> None:
        pause = RETRY_FIRST_S
        try:
            while not self._stopping.is_set():
                self.spool.added.clear()
                done = self._delivered()
                if done is None:
                    if self._closing.is_set():
                        return
                    self.spool.added.wait()
                elif done:
                    pause = RETRY_FIRST_S
                elif self._closing.is_set() or self._stopping.wait(pause):
                    return
                else:
                    pause = min(RETRY_MAX_S, 2 * pause)
        finally:
            self.output.close()

    def _delivered(self) -> bool | None:
        """Whether the oldest record is out of the spool now; None where there is none."""
        try:
            waiting = self.spool.oldest()
            if waiting is None:
                return None
            number, record = waiting
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
