"""A bounded queue in front of each output, so that a slow output never delays detection.

Records are delivered in order by a separate thread. A failed delivery is retried with backoff
until it succeeds. A full queue drops its oldest records and counts them.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Record = dict[str, Any]
"""An event as `streamdet.detection.event.Event.record` returns it, or an incident."""

RETRY_FIRST_S, RETRY_MAX_S = 0.5, 30.0
FaultCallback = Callable[[str | None], None]
"""Called with the fault of an output when it changes, and with None once it works again."""


class OutputError(Exception):
    """A record was not delivered. The message is one line. ``final``: do not retry it."""

    def __init__(self, message: str, *, final: bool = False) -> None:
        super().__init__(message)
        self.final = final


class Output(ABC):
    """A destination for records. The constructor opens nothing."""

    def start(self) -> None:  # noqa: B027 - most outputs open nothing in advance
        """Start connecting; returns at once. Called before the first record."""

    @abstractmethod
    def deliver(self, record: Record) -> None:
        """Deliver a record. Raises OutputError if it fails."""

    def close(self) -> None:  # noqa: B027 - most outputs hold nothing open
        """Close files and connections. Also called if the output was never started."""


@dataclass(frozen=True)
class RecordFilter:
    """The records that an output gets.

    ``phase`` is "onset", "final" or "both", ``kinds`` "events", "incidents" or "both". Of a
    detector with a second stage ``tell`` "onset" selects every candidate's first onset and its end,
    "verified" the onset once it is confirmed and the end of confirmed events.
    """

    phase: str = "both"
    kinds: str = "events"
    tell: str = "onset"

    def matches(self, record: Record) -> bool:
        """Whether the output gets a record."""
        kind = "incidents" if record.get("type") == "incident" else "events"
        if self.phase not in ("both", record["phase"]) or self.kinds not in ("both", kind):
            return False
        if "verified" not in record:
            return True
        if self.tell == "verified":
            return record["verified"] is True
        return record["phase"] == "final" or record["verified"] is None


EVERYTHING = RecordFilter()
"""All events, of both phases, as soon as they are known."""


class OutputQueue:
    """Queues records in memory and delivers them to an output from a thread of its own.

    ``counts`` has the numbers of records delivered, rejected and dropped, and of failed tries.
    ``on_change`` gets the fault of the output. Records that ``wanted`` does not match are ignored.
    """

    def __init__(
        self,
        name: str,
        output: Output,
        length: int,
        wanted: RecordFilter = EVERYTHING,
        on_change: FaultCallback = lambda _: None,
    ) -> None:
        self.name, self.output, self.wanted = name, output, wanted
        self.counts = {"delivered": 0, "failed": 0, "rejected": 0, "dropped": 0}
        self.fault: str | None = None
        self._max_length, self._on_change = length, on_change
        self._waiting: deque[Record] = deque()
        self._delivering = self._closing = False
        self._changed = threading.Condition()
        self._abandon = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"streamdet-{name}", daemon=True)

    def open(self) -> None:
        """Open what the queue needs on disk: nothing."""

    def start(self) -> None:
        """Start the output and its thread."""
        self.output.start()
        self._thread.start()

    def offer(self, record: Record) -> None:
        """Queue a record if it is wanted; returns at once."""
        if not self.wanted.matches(record):
            return
        with self._changed:
            if len(self._waiting) >= self._max_length:
                self._waiting.popleft()
                self.counts["dropped"] += 1
            self._waiting.append(record)
            self._changed.notify()

    @property
    def length(self) -> int:
        """Number of records not delivered yet."""
        with self._changed:
            return len(self._waiting) + self._delivering

    def close(self, timeout_s: float) -> int:
        """Deliver what is queued, for at most ``timeout_s`` seconds, and close the output.

        Returns the number of records not delivered. A thread whose output does not return is left
        behind. Without `start`, this closes the output.
        """
        if self._thread.ident is None:
            self.output.close()
            return self.length
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(timeout_s)
        self._abandon.set()
        if self._thread.is_alive():
            self._thread.join(0.2)
        return self.length

    def _run(self) -> None:
        try:
            while (record := self._next()) is not None and self._deliver(record):
                self._delivering = False
        finally:
            self.output.close()

    def _next(self) -> Record | None:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closing)
            if not self._waiting or self._abandon.is_set():
                return None
            self._delivering = True
            return self._waiting.popleft()

    def _deliver(self, record: Record) -> bool:
        """Whether the record was delivered or rejected before `close` ran out of time."""
        pause_s = RETRY_FIRST_S
        while True:
            try:
                self.output.deliver(record)
            except OutputError as error:
                self.counts["failed"] += 1
                self._set_fault(str(error))
                if error.final:
                    self.counts["rejected"] += 1
                    return True
            else:
                self.counts["delivered"] += 1
                self._set_fault(None)
                return True
            if self._abandon.wait(pause_s):
                return False
            pause_s = min(RETRY_MAX_S, 2 * pause_s)

    def _set_fault(self, fault: str | None) -> None:
        if fault != self.fault:
            self.fault = fault
            self._on_change(fault)
