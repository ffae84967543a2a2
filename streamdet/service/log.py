"""What happens in a daemon's life, a line each on stderr: as text, or as JSON.

Of lines of one kind about one source only the first is printed in an interval; the next one says
how many there were between.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any, Literal, TextIO

from streamdet.detect.event import utc

Level = Literal["info", "warning", "error"]


class Log:
    """Safe from any thread: a line is one write."""

    def __init__(
        self,
        form: Literal["text", "json"] = "text",
        repeat_s: float = 60.0,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._form, self._repeat_s, self._stream, self._clock = form, repeat_s, stream, clock
        self._last: dict[tuple[str, str], tuple[float, int]] = {}

    def say(self, kind: str, message: str, level: Level = "info", **fields: Any) -> None:
        """A line of this ``kind`` (a word), unless there was one lately; ``source`` among the
        fields tells sources apart."""
        key = (kind, str(fields.get("source", "")))
        now = self._clock()
        at, held = self._last.get(key, (-float("inf"), 0))
        if now - at < self._repeat_s and level != "info":
            self._last[key] = (at, held + 1)
            return
        self._last[key] = (now, 0)
        stream = sys.stderr if self._stream is None else self._stream
        stream.write(self._line(kind, _plain(message), level, held, fields) + "\n")
        stream.flush()

    def _line(
        self, kind: str, message: str, level: Level, held: int, fields: dict[str, Any]
    ) -> str:
        if self._form == "json":
            row = {"time": utc(time.time()), "level": level, "event": kind, "message": message}
            row |= fields | ({"repeated": held} if held else {})
            return json.dumps(row, separators=(",", ":"), default=str)
        more = f" ({held} more like it before)" if held else ""
        where = f"{_plain(fields['source'])}: " if fields.get("source") else ""
        return f"streamdet: {where}{message}{more}"


def _plain(text: str) -> str:
    """The text on one line, without characters that a terminal would obey."""
    return "".join(c if c.isprintable() else "\ufffd" for c in text)
