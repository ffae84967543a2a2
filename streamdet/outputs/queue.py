"""A queue before an output, and the thread that empties it: a slow output never slows the ear.

What an output could not take is tried again until it can, in order; a queue that is full loses its
oldest records, and counts them.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from typing import Any

Record = dict[str, Any]
"""An event as `streamdet.detection.event.Event.record` gives it, or an incident."""

RETRY_FIRST_S, RETRY_MAX_S = 0.5, 30.0


class OutputError(Exception):
    """A record was not delivered; one line. ``final``: nor would it be by another try."""

    def __init__(self, message: str, *, final: bool = False) -> None:
        super().__init__(message)
        self.final = final


class Output(ABC):
    """Where records go, one after another."""

    @abstractmethod
    def deliver(self, record: Record) -> None:
        """Take a record; raises OutputError where it did not."""

    def close(self) -> None:  # noqa: B027 - most have nothing to let go of
        """Let go of files and connections."""


class OutputQueue:
    """``offer`` takes records at once; ``counts`` has those delivered, failed (tries), rejected and
    dropped. ``changed`` is called with each fault, and with None when all is well again."""

    def __init__(
        self,
        name: str,
        output: Output,
        length: int,
        phase: str = "both",
        on_change: Callable[[str | None], None] = lambda _: None,
        kinds: str = "events",
    ) -> None:
        self.name, self.output, self.phase, self.kinds = name, output, phase, kinds
        self.counts = {"delivered": 0, "failed": 0, "rejected": 0, "dropped": 0}
        self.fault: str | None = None
        self._length, self._on_change = length, on_change
        self._waiting: deque[Record] = deque()
        self._holding = self._closing = False
        self._changed = threading.Condition()
        self._abandon = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"streamdet-{name}", daemon=True)

    def start(self) -> None:
        """Begin to deliver."""
        self._thread.start()

    def offer(self, record: Record) -> None:
        """Put a record down, if its kind and phase are wanted here."""
        kind = "incidents" if record.get("type") == "incident" else "events"
        if self.phase not in ("both", record["phase"]) or self.kinds not in ("both", kind):
            return
        with self._changed:
            if len(self._waiting) >= self._length:
                self._waiting.popleft()
                self.counts["dropped"] += 1
            self._waiting.append(record)
            self._changed.notify()

    @property
    def length(self) -> int:
        """Records that are not delivered yet."""
        with self._changed:
            return len(self._waiting) + self._holding

    def close(self, patience_s: float) -> int:
        """Deliver what there is for at most so long, then leave the rest; returns how many that
        are. An output that never returns is left to itself."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(patience_s)
        self._abandon.set()
        if self._thread.is_alive():
            self._thread.join(0.2)
        return self.length

    def _run(self) -> None:
        try:
            while (record := self._next()) is not None:
                self._deliver(record)
                self._holding = False
        finally:
            self.output.close()

    def _next(self) -> Record | None:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closing)
            if not self._waiting or self._abandon.is_set():
                return None
            self._holding = True
            return self._waiting.popleft()

    def _deliver(self, record: Record) -> None:
        pause = RETRY_FIRST_S
        while True:
            try:
                self.output.deliver(record)
            except OutputError as error:
                self.counts["failed"] += 1
                self._set_fault(str(error))
                if error.final:
                    self.counts["rejected"] += 1
                    return
            else:
                self.counts["delivered"] += 1
                self._set_fault(None)
                return
            if self._abandon.wait(pause):
                return
            pause = min(RETRY_MAX_S, 2 * pause)

    def _set_fault(self, fault: str | None) -> None:
        if fault != self.fault:
            self.fault = fault
            self._on_change(fault)
