"""The daemon's log: one line per occurrence on stderr, as text or JSON.

Repeated warnings and errors of one kind about one source are logged once per interval; the next
line says how many were left out. A separate thread writes the lines, so that a slow reader of
stderr never blocks the caller.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Literal, TextIO

from streamdet.detection.event import format_utc
from streamdet.text import printable

Level = Literal["info", "warning", "error"]
_MAX_WAITING = 1_000


class DaemonLog:
    """Safe to use from any thread. Up to 1,000 lines wait for the reader; then the oldest go."""

    def __init__(
        self,
        form: Literal["text", "json"] = "text",
        repeat_s: float = 60.0,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._form, self._repeat_s, self._clock = form, repeat_s, clock
        self._stream = sys.stderr if stream is None else stream
        self._last: dict[tuple[str, str], tuple[float, int]] = {}
        self._lines: deque[str] = deque(maxlen=_MAX_WAITING)
        self._changed = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._write, name="streamdet-log", daemon=True)
        self._thread.start()

    def emit(self, kind: str, message: str, level: Level = "info", **fields: Any) -> None:
        """Log a line. ``kind`` is one word, the ``event`` field of JSON lines.

        A warning or error is left out if one of the same kind, with the same ``source`` among its
        fields, was logged less than ``repeat_s`` seconds ago.
        """
        key, now = (kind, str(fields.get("source", ""))), self._clock()
        with self._changed:
            logged_at, repeated = self._last.get(key, (-float("inf"), 0))
            if level != "info" and now - logged_at < self._repeat_s:
                self._last[key] = (logged_at, repeated + 1)
                return
            self._last[key] = (now, 0)
            self._lines.append(self._format(kind, printable(message), level, repeated, fields))
            self._changed.notify()

    def close(self, timeout_s: float = 1.0) -> None:
        """Write the lines that wait, for at most ``timeout_s`` seconds."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(timeout_s)

    def _write(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._lines or self._closing)
                if not self._lines:
                    return
                line = self._lines.popleft()
            try:
                self._stream.write(line + "\n")
                self._stream.flush()
            except (OSError, ValueError):
                return  # stderr is closed

    def _format(
        self, kind: str, message: str, level: Level, repeated: int, fields: dict[str, Any]
    ) -> str:
        if self._form == "json":
            row = {
                "time": format_utc(time.time()),
                "level": level,
                "event": kind,
                "message": message,
            }
            row |= fields | ({"repeated": repeated} if repeated else {})
            return json.dumps(row, separators=(",", ":"), default=str)
        suffix = f" (repeated {repeated} times)" if repeated else ""
        prefix = f"{printable(str(fields['source']))}: " if fields.get("source") else ""
        return f"streamdet: {prefix}{message}{suffix}"
