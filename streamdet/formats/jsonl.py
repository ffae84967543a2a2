"""JSON lines: an object of docs/events.md per line."""

from __future__ import annotations

import json
from typing import TextIO

from streamdet.detection.event import Event
from streamdet.formats.writer import ScoreExplanation


class JsonlWriter:
    """Writes and flushes a line per event."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, event: Event, explanation: ScoreExplanation | None = None) -> None:
        """Write one line. An explanation is the key ``explain``."""
        record = event.record()
        if explanation is not None:
            record["explain"] = explanation.record(event)
        self._stream.write(json.dumps(record, separators=(",", ":")) + "\n")
        self._stream.flush()

    def close(self) -> None:
        """Do nothing: every line is already written."""
