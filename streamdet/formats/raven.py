"""Selection tables of the Cornell Lab's Raven."""

from __future__ import annotations

from pathlib import Path
from typing import TextIO

from streamdet.detection.event import Event
from streamdet.formats.markers import event_span_s
from streamdet.formats.writer import ScoreExplanation

_RAVEN = (
    "Selection", "View", "Channel", "Begin Time (s)", "End Time (s)", "Low Freq (Hz)",
    "High Freq (Hz)", "Begin File", "Rounds", "Score", "Label",
)  # fmt: skip


class RavenWriter:
    """A selection table of the Cornell lab's Raven, with the file of each selection."""

    def __init__(self, stream: TextIO) -> None:
        self._stream, self._count = stream, 0
        stream.write("\t".join(_RAVEN) + "\n")

    def write(self, event: Event, explanation: ScoreExplanation | None = None) -> None:
        """One selection."""
        del explanation
        self._count += 1
        (first, last), d = event_span_s(event), event.detection
        row = (
            self._count, "Spectrogram 1", _channel(event), f"{first:.6f}", f"{last:.6f}", 0,
            event.sample_rate // 2, Path(event.source).name, d.rounds, f"{d.score:.4f}", "gunshot",
        )  # fmt: skip
        self._stream.write("\t".join(map(str, row)) + "\n")
        self._stream.flush()

    def close(self) -> None:
        """Hand over a head that nothing followed."""
        self._stream.flush()


def _channel(event: Event) -> int:
    """The one that spoke; the first for a mean, since a selection has to be in one."""
    channel = event.detection.channel
    return int(channel) if channel is not None and channel.isdigit() else 1
