"""Comma-separated values (RFC 4180): a header, then a row per event."""

from __future__ import annotations

import csv
from typing import TextIO

from streamdet.detection.event import Event
from streamdet.formats.writer import ScoreExplanation

COLUMNS = (
    "source", "onset_s", "offset_s", "rounds", "score", "threshold", "time", "level_dbfs",
    "onset_sample", "sample_rate", "id", "model", "channel",
)  # fmt: skip


class CsvWriter:
    """Writes the header at once, also if there are no events.

    With ``explain`` there is one more column, for the explanations.
    """

    def __init__(self, stream: TextIO, *, explain: bool = False) -> None:
        self._stream = stream
        self._rows = csv.writer(stream, lineterminator="\n")
        self._rows.writerow((*COLUMNS, "explain") if explain else COLUMNS)

    def write(self, event: Event, explanation: ScoreExplanation | None = None) -> None:
        """Write one row. Unknown values are empty."""
        record = event.record()
        model = record.pop("model")
        record["model"] = f"{model['name']}/{model['version']}"
        row = ["" if record[c] is None else record[c] for c in COLUMNS]
        if explanation is not None:
            row.append(explanation.text(event))
        self._rows.writerow(row)
        self._stream.flush()

    def close(self) -> None:
        """Flush the header of a table without events."""
        self._stream.flush()
