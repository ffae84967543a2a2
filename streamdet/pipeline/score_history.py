"""The scores of the last 30 s of a stream, to look back from an event."""

from __future__ import annotations

from collections import deque
from itertools import count
from typing import NamedTuple

import numpy as np

from streamdet.detection.event import Detection
from streamdet.detection.frames import FrameGrid, ScoredFrames

HISTORY_S = 30.0


class _FrameBlock(NamedTuple):
    """``start``: first sample of the first frame. ``scores``: (t, labels). ``gunshots`` and
    ``levels``: (mixes, t)."""

    start: int
    scores: np.ndarray
    gunshots: np.ndarray
    levels: np.ndarray


class ScoreHistory:
    """The last 30 s of frames. Positions are samples of the model's rate since the stream began."""

    def __init__(self, grid: FrameGrid) -> None:
        self._grid = grid
        self._blocks: deque[_FrameBlock] = deque()
        self._frames = 0

    def add(self, start: int, frames: ScoredFrames, mixes: list[ScoredFrames]) -> None:
        """Add the frames from sample ``start`` on, and those of each channel mix."""
        gunshots = np.stack([mix.scores[:, 0] for mix in mixes])
        levels = np.stack([mix.level for mix in mixes])
        self._blocks.append(_FrameBlock(start, frames.scores.copy(), gunshots, levels))
        self._frames += len(frames.scores)
        limit = HISTORY_S * self._grid.rate / self._grid.frame
        while self._frames - len(self._blocks[0].scores) > limit:
            self._frames -= len(self._blocks.popleft().scores)

    def revise(self, start: int, scores: np.ndarray) -> None:
        """Replace the gunshot scores of the stored frames from sample ``start`` on: (t,)."""
        frame = self._grid.frame
        for block in reversed(self._blocks):
            at = (block.start - start) // frame
            if at + len(block.scores) <= 0:
                break
            first, last = max(0, -at), min(len(block.scores), len(scores) - at)
            if first < last:
                block.scores[first:last, 0] = scores[at + first : at + last]

    def around(self, detection: Detection, margin_s: float) -> list[tuple[float, float]]:
        """(time_s, gunshot score) of the frames of a detection, ``margin_s`` wider at both ends."""
        rate, frame = self._grid.rate, self._grid.frame
        end = detection.offset if detection.offset is not None else detection.detected
        first, last = detection.onset - round(margin_s * rate), end + round(margin_s * rate)
        return [
            (round(at / rate, 3), round(float(score), 4))
            for start, scores, *_ in self._blocks
            if start < last and start + len(scores) * frame > first
            for at, score in zip(count(start, frame), scores[:, 0], strict=False)
            if first <= at < last
        ]

    def recent(self) -> tuple[np.ndarray, np.ndarray]:
        """All of it: times (t,) float64 in seconds and gunshot scores (t,) float32."""
        if not self._blocks:
            return np.zeros(0), np.zeros(0, np.float32)
        rate, frame = self._grid.rate, self._grid.frame
        times = [b.start / rate + frame / rate * np.arange(len(b.scores)) for b in self._blocks]
        return np.concatenate(times), np.concatenate([b.scores[:, 0] for b in self._blocks])

    def since(self, first: int) -> list[float]:
        """The gunshot scores of the frames that begin at sample ``first`` or later."""
        scores: list[float] = []
        for block in self._blocks:
            skipped = max(0, -(-(first - block.start) // self._grid.frame))
            scores += [float(score) for score in block.scores[skipped:, 0]]
        return scores

    def reaches_back_to(self, sample: int) -> bool:
        """Whether the stored frames start at this sample or earlier."""
        return bool(self._blocks) and self._blocks[0].start <= sample

    def max_score(self, label: str, first: int, last: int) -> float:
        """The highest score of a label between two samples; 0 if no frame there is stored."""
        index, frame = self._grid.labels.index(label), self._grid.frame
        maxima = [
            float(
                b.scores[
                    max(0, (first - b.start) // frame) : -(-(last - b.start) // frame), index
                ].max()
            )
            for b in self._blocks
            if b.start < last and b.start + len(b.scores) * frame > first
        ]
        return max(maxima, default=0.0)

    def louder_mix(self, first: int, last: int, threshold: float) -> int | None:
        """Where the second mix (the loudest channel) caused a detection between two samples.

        Returns the sample at which its score was highest. Returns None where the first mix (the
        mean of all channels) explains the detection: the loudest channel stayed below the
        threshold, or the mean reached it and the channel was less than 3 dB louder.
        """
        frame = self._grid.frame
        mean = single = 0.0
        stands_out, at = False, first
        for start, _, gunshots, levels in self._blocks:
            part = slice(max(0, -(-(first - start) // frame)), max(0, -(-(last - start) // frame)))
            if not gunshots[0, part].size:
                continue
            mean = max(mean, float(gunshots[0, part].max()))
            i = part.start + int(gunshots[1, part].argmax())
            if gunshots[1, i] > single:
                single, at = float(gunshots[1, i]), start + i * frame
                stands_out = bool(levels[1, i] > 2.0 * levels[0, i])
        if single < threshold or (mean >= threshold and not stands_out):
            return None
        return at
