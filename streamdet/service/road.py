"""The road of one source, from its blocks to detections: the same for a file and live.

blocks -> Converter -> Stream (frontend, model) -> decision -> detections
"""

from __future__ import annotations

from collections import deque
from itertools import count

import numpy as np

from streamdet.audio.resample import Converter
from streamdet.audio.source import Block
from streamdet.detection import decision
from streamdet.detection.decision import DecisionConfig, Frames
from streamdet.detection.engine import Seats
from streamdet.detection.event import Detection

_KEPT_S = 30.0


class Road:
    """Feed it blocks in order; it answers with detections in samples of the source's time.

    A gap between blocks (the next one's start is not where the last one ended) ends what
    is open and begins anew behind it, so the time of what follows stays right.
    """

    def __init__(
        self,
        engine: Seats,
        config: DecisionConfig,
        rate: int,
        channels: int,
        channel: int | None = None,
        *,
        gain_db: float = 0.0,
        keep_scores: bool = False,
    ) -> None:
        self.engine, self.config = engine, config
        self._gain_db = gain_db
        self._rate, self._channels, self._channel = rate, channels, channel
        self._keep_scores = keep_scores
        self._kept: list[np.ndarray] = []
        self._recent: deque[tuple[int, np.ndarray]] = deque()
        self._recent_frames = 0
        self._next = 0
        self._begin(0)

    @property
    def grid(self) -> decision.Grid:
        """How frames lie on samples."""
        return self.engine.grid

    @property
    def wanted(self) -> int:
        """Samples of the source's that the next step still wants."""
        return -(-self._stream.wanted * self._rate // self.grid.rate)

    def feed(self, block: Block) -> list[Detection]:
        """The detections that this block completes."""
        found: list[Detection] = []
        if block.start != self._next:
            found = self.finish()
            self.close()
            self._begin(block.start)
        self._next = block.start + len(block.samples)
        samples = self._converter.feed(block.samples)
        return found + self._decide(self._stream.feed(samples))

    def poll(self) -> list[Detection]:
        """The detections of what a step of many streams has heard meanwhile."""
        return self._decide(self._stream.poll())

    def finish(self) -> list[Detection]:
        """The stream ends here: what is still inside comes out, and what is open closes."""
        frames = self._stream.feed(self._converter.finish()) + self._stream.finish()
        found = self._decide(frames)
        self._state, closed = decision.finish(self.config, self.grid, self._state)
        return found + [self._placed(d) for d in closed]

    def close(self) -> None:
        """Let go of what its stream holds."""
        self._stream.close()

    def scores(self) -> tuple[np.ndarray, np.ndarray]:
        """(times_s (t,) of each frame's start, scores (t, labels)), if they were kept."""
        if not self._kept:
            return np.zeros(0), np.zeros((0, len(self.grid.labels)), np.float32)
        scores = np.concatenate(self._kept)
        first = self._base / self.grid.rate
        return first + np.arange(len(scores)) * self.grid.frame / self.grid.rate, scores

    def around(self, detection: Detection, margin_s: float = 0.2) -> list[tuple[float, float]]:
        """(time_s, gunshot score) of the frames from a little before its onset to its end,
        as far as the last 30 s hold them."""
        rate, frame = self.grid.rate, self.grid.frame
        end = detection.offset if detection.offset is not None else detection.detected
        first, last = detection.onset - round(margin_s * rate), end + round(margin_s * rate)
        return [
            (round(at / rate, 3), round(float(score), 4))
            for start, scores in self._recent
            if start < last and start + len(scores) * frame > first
            for at, score in zip(count(start, frame), scores[:, 0], strict=False)
            if first <= at < last
        ]

    @property
    def rate(self) -> int:
        """The source's, in Hz."""
        return self._rate

    def recent(self) -> tuple[np.ndarray, np.ndarray]:
        """(seconds (t,), gunshot scores (t,) float32) of the last 30 s of frames."""
        if not self._recent:
            return np.zeros(0), np.zeros(0, np.float32)
        step = self.grid.frame / self.grid.rate
        times = [at / self.grid.rate + step * np.arange(len(s)) for at, s in self._recent]
        return np.concatenate(times), np.concatenate([s[:, 0] for _, s in self._recent])

    def gunshots(self, first: int) -> tuple[int, list[float]]:
        """The gunshot scores of the frames that begin at a sample or behind it, as far as they are
        remembered, and where the next frame will begin."""
        frame, found = self.grid.frame, []
        for at, scores in self._recent:
            skipped = max(0, -(-(first - at) // frame))
            found += [float(score) for score in scores[skipped:, 0]]
        return self._base + self._state.frame * frame, found

    def highest(self, label: str, first: int, last: int) -> float:
        """The highest score of a label over samples of the model's rate, as far as the last 30 s
        hold them; 0 where they hold none."""
        index, frame = self.grid.labels.index(label), self.grid.frame
        found = [
            float(
                scores[max(0, (first - start) // frame) : -(-(last - start) // frame), index].max()
            )
            for start, scores in self._recent
            if start < last and start + len(scores) * frame > first
        ]
        return max(found, default=0.0)

    def _begin(self, start: int) -> None:
        self._next = start
        self._base = round(start * self.grid.rate / self._rate)
        self._converter = Converter(
            self._rate, self._channels, self.grid.rate, self._channel, self._gain_db
        )
        self._stream = self.engine.stream()
        self._state = decision.init(self.config, self.grid)

    def _decide(self, blocks: list[Frames]) -> list[Detection]:
        found: list[Detection] = []
        for frames in blocks:
            self._remember(frames)
            self._state, some = decision.step(self.config, self.grid, self._state, frames)
            found += [self._placed(d) for d in some]
        return found

    def _remember(self, frames: Frames) -> None:
        if self._keep_scores:
            self._kept.append(frames.scores)
        self._recent.append((self._base + self._state.frame * self.grid.frame, frames.scores))
        self._recent_frames += len(frames.scores)
        most = _KEPT_S * self.grid.rate / self.grid.frame
        while self._recent_frames - len(self._recent[0][1]) > most:
            self._recent_frames -= len(self._recent.popleft()[1])

    def _placed(self, d: Detection) -> Detection:
        return d if not self._base else d.moved(self._base)
