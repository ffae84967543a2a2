"""Selection tables of Raven (Cornell Lab of Ornithology)."""

from __future__ import annotations

from pathlib import Path
from typing import TextIO

from streamdet.detection.event import Event
from streamdet.formats.writer import ScoreExplanation

_COLUMNS = (
    "Selection", "View", "Channel", "Begin Time (s)", "End Time (s)", "Low Freq (Hz)",
    "High Freq (Hz)", "Begin File", "Rounds", "Score", "Label",
)  # fmt: skip


class RavenWriter:
    """Writes the header at once, then a selection per event with the name of its file."""

    def __init__(self, stream: TextIO) -> None:
        self._stream, self._count = stream, 0
        stream.write("\t".join(_COLUMNS) + "\n")

    def write(self, event: Event, explanation: ScoreExplanation | None = None) -> None:
        """Write one selection."""
        del explanation
        self._count += 1
        (onset_s, end_s), d = event.span_s, event.detection
        row = (
            self._count, "Spectrogram 1", _channel(event), f"{onset_s:.6f}", f"{end_s:.6f}", 0,
            event.sample_rate // 2, Path(event.source).name, d.rounds, f"{d.score:.4f}", "gunshot",
        )  # fmt: skip
        self._stream.write("\t".join(map(str, row)) + "\n")
        self._stream.flush()

    def close(self) -> None:
        """Flush the header of a table without events."""
        self._stream.flush()


def _channel(event: Event) -> int:
    """Return the channel of an event; 1 if it is the mean, because a selection needs a channel."""
    channel = event.detection.channel
    return int(channel) if channel is not None and channel.isdigit() else 1
