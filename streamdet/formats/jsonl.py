"""JSON lines: one object of docs/events.md a line, flushed as it is written."""

from __future__ import annotations

import json
from typing import TextIO

from streamdet.detection.event import Event
from streamdet.formats.writer import ScoreExplanation


class JsonlWriter:
    """Writes to an open text stream."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, event: Event, explanation: ScoreExplanation | None = None) -> None:
        """One line; the explanation, if any, stands under ``explain``."""
        record = event.record()
        if explanation is not None:
            record["explain"] = explanation.record(event)
        self._stream.write(json.dumps(record, separators=(",", ":")) + "\n")
        self._stream.flush()

    def close(self) -> None:
        """Nothing is left to write."""
