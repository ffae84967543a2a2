"""The recent samples and scores of an open source, taken from its ring buffer and its pipeline."""

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
    """``taken``: samples read from the ring so far. For use by the daemon's thread only."""

    live: LiveSource
    ring: RingBuffer
    pipeline: SourcePipeline
    channel: int | None
    taken: int = 0

    @property
    def rate(self) -> int:
        """The source's sample rate in Hz, to which all sample indices here refer."""
        return self.live.rate

    def samples_since(self, first: int) -> tuple[int, np.ndarray]:
        """The samples from index ``first`` to ``taken``, as far as the ring still holds them.

        Returns the index of the first sample, and ``(n,) float32`` mono samples.
        """
        buffer = np.zeros((max(0, self.taken - first), self.live.channels), np.float32)
        start, count = self.ring.copy_history(first, buffer)
        mono = downmix(buffer[:count], self.channel)
        return start, np.nan_to_num(mono, nan=0.0, posinf=0.0, neginf=0.0)

    def scores_around(self, detection: Detection, margin_s: float) -> list[tuple[float, float]]:
        """(seconds from the onset, gunshot score) of the frames around a detection."""
        onset_s = detection.onset / self.pipeline.grid.rate
        return [
            (round(at - onset_s, 3), score)
            for at, score in self.pipeline.history.around(detection, margin_s)
        ]

    def max_score(self, label: str, first: int, last: int) -> float:
        """The highest score of a label between two samples, 0 if the model lacks the label.

        If the stored scores do not reach back to the first sample, the answer is 1.
        """
        scores, grid = self.pipeline.history, self.pipeline.grid
        if label not in grid.labels:
            return 0.0
        first, last = (round(sample * grid.rate / self.rate) for sample in (first, last))
        return scores.max_score(label, first, last) if scores.reaches_back_to(first) else 1.0
