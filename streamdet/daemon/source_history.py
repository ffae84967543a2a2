"""What an opening of a source has heard lately, while its ring and its road still know it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from streamdet.audio.live import LiveSource
from streamdet.audio.resample import downmix
from streamdet.audio.ring import RingBuffer
from streamdet.detection.event import Detection
from streamdet.pipeline.source_pipeline import SourcePipeline


@dataclass
class SourceHistory:
    """``taken`` samples of it were taken from the ring so far. For the daemon's thread."""

    live: LiveSource
    ring: RingBuffer
    pipeline: SourcePipeline
    channel: int | None
    taken: int = 0

    @property
    def rate(self) -> int:
        """The source's own rate, which samples and indices here are of."""
        return self.live.rate

    def samples_since(self, first: int) -> tuple[int, np.ndarray]:
        """What was taken from a sample on, as far as the ring still has it: the first one's index,
        and ``(n,) float32`` as they are heard."""
        room = np.zeros((max(0, self.taken - first), self.live.channels), np.float32)
        found, count = self.ring.copy_history(first, room)
        return found, np.nan_to_num(downmix(room[:count], self.channel))

    def scores_around(self, d: Detection, margin_s: float) -> list[tuple[float, float]]:
        """(seconds behind its onset, gunshot score) of the frames around a detection."""
        onset_s = d.onset / self.pipeline.grid.rate
        return [
            (round(at - onset_s, 3), score)
            for at, score in self.pipeline.history.around(d, margin_s)
        ]

    def max_score(self, label: str, first: int, last: int) -> float:
        """The highest score of a label between two samples, as far as it is remembered."""
        if label not in self.pipeline.grid.labels:
            return 0.0
        to = self.pipeline.grid.rate / self.rate
        return self.pipeline.history.max_score(label, round(first * to), round(last * to))
