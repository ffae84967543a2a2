"""What happens in a daemon's life, a line each on stderr: as text, or as JSON.

Of lines of one kind about one source only the first is printed in an interval; the next one says
how many there were between. A thread of its own writes them: nobody who has something to say waits
for whoever reads it.
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
_MOST = 1_000


class DaemonLog:
    """Safe from any thread; of lines that nobody reads the newest 1,000 wait."""

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
        self._lines: deque[str] = deque(maxlen=_MOST)
        self._news = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._write, name="streamdet-log", daemon=True)
        self._thread.start()

    def emit(self, kind: str, message: str, level: Level = "info", **fields: Any) -> None:
        """A line of this ``kind`` (a word), unless it is a warning or an error and there was one
        lately; ``source`` among the fields tells sources apart."""
        key, now = (kind, str(fields.get("source", ""))), self._clock()
        with self._news:
            at, held = self._last.get(key, (-float("inf"), 0))
            if level != "info" and now - at < self._repeat_s:
                self._last[key] = (at, held + 1)
                return
            self._last[key] = (now, 0)
            self._lines.append(self._line(kind, printable(message), level, held, fields))
            self._news.notify()

    def close(self, patience_s: float = 1.0) -> None:
        """Write what there is, for at most so long."""
        with self._news:
            self._closing = True
            self._news.notify()
        self._thread.join(patience_s)

    def _write(self) -> None:
        while True:
            with self._news:
                self._news.wait_for(lambda: self._lines or self._closing)
                if not self._lines:
                    return
                line = self._lines.popleft()
            try:
                self._stream.write(line + "\n")
                self._stream.flush()
            except (OSError, ValueError):
                return  # nobody is there to be told

    def _line(
        self, kind: str, message: str, level: Level, held: int, fields: dict[str, Any]
    ) -> str:
        if self._form == "json":
            row = {
                "time": format_utc(time.time()),
                "level": level,
                "event": kind,
                "message": message,
            }
            row |= fields | ({"repeated": held} if held else {})
            return json.dumps(row, separators=(",", ":"), default=str)
        more = f" ({held} more like it before)" if held else ""
        where = f"{printable(str(fields['source']))}: " if fields.get("source") else ""
        return f"streamdet: {where}{message}{more}"
