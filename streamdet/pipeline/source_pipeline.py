"""The road of one source, from its blocks to detections: the same for a file and live.

blocks -> Converter -> Stream (frontend, model) -> decision -> detections

Of several channels the mean and the loudest can be heard at once, each in a lane of its own; the
decision takes the higher score of each frame.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from itertools import count
from typing import NamedTuple

import numpy as np

from streamdet.audio.loudest import LoudestChannel
from streamdet.audio.resample import MonoResampler
from streamdet.audio.source import Block
from streamdet.detection import decision
from streamdet.detection.decision import DecisionConfig
from streamdet.detection.engine import ScoreStream, StreamProvider
from streamdet.detection.event import Detection
from streamdet.detection.frames import FrameGrid, ScoredFrames

_KEPT_S = 30.0
ScoreCallback = Callable[[float, float, np.ndarray], None]
"""Is told (start_s, frame_s, ``(t,)`` gunshot scores) of all frames, as they come."""
MIX = "mix"
"""What the mean of several channels is called."""


class _ChannelMix(NamedTuple):
    """A signal that is heard, and the frames of it that others have not yet."""

    converter: MonoResampler
    stream: ScoreStream
    waiting: deque[ScoredFrames]

    def feed(self, samples: np.ndarray) -> None:
        self.waiting.extend(self.stream.feed(self.converter.feed(samples)))

    def finish(self) -> None:
        self.waiting.extend(self.stream.feed(self.converter.finish()))
        self.waiting.extend(self.stream.finish())


class _FrameBlock(NamedTuple):
    """``start``: the first frame's sample; ``scores`` (t, labels); ``gunshots`` and
    ``levels`` (lanes, t)."""

    start: int
    scores: np.ndarray
    gunshots: np.ndarray
    levels: np.ndarray


class SourcePipeline:
    """Feed it blocks in order; it answers with detections in samples of the source's time.

    A gap between blocks (the next one's start is not where the last one ended) ends what
    is open and begins anew behind it, so the time of what follows stays right. ``loudest``: hear
    the loudest channel beside the mean, where there are several and none is asked for.
    """

    def __init__(
        self,
        engine: StreamProvider,
        config: DecisionConfig,
        rate: int,
        channels: int,
        channel: int | None = None,
        *,
        gain_db: float = 0.0,
        keep_scores: bool = False,
        loudest: bool = False,
        on_scores: ScoreCallback | None = None,
    ) -> None:
        self.engine, self.config = engine, config
        self._gain_db = gain_db
        self._rate, self._channels, self._channel = rate, channels, channel
        self._keep_scores, self._watch = keep_scores, on_scores
        self._both = loudest and channel is None and channels > 1
        self._kept: list[np.ndarray] = []
        self._recent: deque[_FrameBlock] = deque()
        self._recent_frames = 0
        self._next = 0
        self._begin(0)

    @property
    def grid(self) -> FrameGrid:
        """How frames lie on samples."""
        return self.engine.grid

    @property
    def samples_needed(self) -> int:
        """Samples of the source's that the next step still wants."""
        return -(-self._mixes[0].stream.samples_needed * self._rate // self.grid.rate)

    def feed(self, block: Block) -> list[Detection]:
        """The detections that this block completes."""
        found: list[Detection] = []
        if block.start != self._next:
            found = self.finish()
            self.close()
            self._begin(block.start)
        self._next = block.start + len(block.samples)
        self._feed_mixes(block.samples)
        return found + self._decide(self._merged())

    def poll(self) -> list[Detection]:
        """The detections of what a step of many streams has heard meanwhile."""
        for lane in self._mixes:
            lane.waiting.extend(lane.stream.poll())
        return self._decide(self._merged())

    def finish(self) -> list[Detection]:
        """The stream ends here: what is still inside comes out, and what is open closes."""
        if self._loudest is not None:
            self._feed_both(*self._loudest.finish())
        self._each(*(lane.finish for lane in self._mixes))
        found = self._decide(self._merged())
        self._state, closed = decision.finish(self.config, self.grid, self._state)
        return found + [self._shift(d) for d in closed]

    def close(self) -> None:
        """Let go of what its streams hold."""
        if self._helper is not None:
            self._helper.shutdown()
        for lane in self._mixes:
            lane.stream.close()

    def scores(self) -> tuple[np.ndarray, np.ndarray]:
        """(times_s (t,) of each frame's start, scores (t, labels)), if they were kept."""
        if not self._kept:
            return np.zeros(0), np.zeros((0, len(self.grid.labels)), np.float32)
        scores = np.concatenate(self._kept)
        first = self._base / self.grid.rate
        return first + np.arange(len(scores)) * self.grid.frame / self.grid.rate, scores

    def scores_around(
        self, detection: Detection, margin_s: float = 0.2
    ) -> list[tuple[float, float]]:
        """(time_s, gunshot score) of the frames from a little before its onset to its end,
        as far as the last 30 s hold them."""
        rate, frame = self.grid.rate, self.grid.frame
        end = detection.offset if detection.offset is not None else detection.detected
        first, last = detection.onset - round(margin_s * rate), end + round(margin_s * rate)
        return [
            (round(at / rate, 3), round(float(score), 4))
            for start, scores, *_ in self._recent
            if start < last and start + len(scores) * frame > first
            for at, score in zip(count(start, frame), scores[:, 0], strict=False)
            if first <= at < last
        ]

    @property
    def rate(self) -> int:
        """The source's, in Hz."""
        return self._rate

    def recent_scores(self) -> tuple[np.ndarray, np.ndarray]:
        """(seconds (t,), gunshot scores (t,) float32) of the last 30 s of frames."""
        if not self._recent:
            return np.zeros(0), np.zeros(0, np.float32)
        step = self.grid.frame / self.grid.rate
        times = [at / self.grid.rate + step * np.arange(len(s)) for at, s, *_ in self._recent]
        return np.concatenate(times), np.concatenate([s[:, 0] for _, s, *_ in self._recent])

    def scores_since(self, first: int) -> tuple[int, list[float]]:
        """The gunshot scores of the frames that begin at a sample or behind it, as far as they are
        remembered, and where the next frame will begin."""
        frame, found = self.grid.frame, []
        for at, scores, *_ in self._recent:
            skipped = max(0, -(-(first - at) // frame))
            found += [float(score) for score in scores[skipped:, 0]]
        return self._base + self._state.frame * frame, found

    def max_score(self, label: str, first: int, last: int) -> float:
        """The highest score of a label over samples of the model's rate, as far as the last 30 s
        hold them; 0 where they hold none."""
        index, frame = self.grid.labels.index(label), self.grid.frame
        found = [
            float(
                scores[max(0, (first - start) // frame) : -(-(last - start) // frame), index].max()
            )
            for start, scores, *_ in self._recent
            if start < last and start + len(scores) * frame > first
        ]
        return max(found, default=0.0)

    def _begin(self, start: int) -> None:
        self._next = start
        self._base = round(start * self.grid.rate / self._rate)
        self._loudest = LoudestChannel(self._rate, self._channels) if self._both else None
        self._helper = ThreadPoolExecutor(1) if self._both and self.engine.shared else None
        self._mixes = [self._new_mix(self._channels, self._channel)]
        if self._both:
            self._mixes.append(self._new_mix(1, None))
        self._state = decision.init(self.config, self.grid)

    def _new_mix(self, channels: int, channel: int | None) -> _ChannelMix:
        converter = MonoResampler(self._rate, channels, self.grid.rate, channel, self._gain_db)
        return _ChannelMix(converter, self.engine.stream(), deque())

    def _feed_mixes(self, samples: np.ndarray) -> None:
        if self._loudest is None:
            self._mixes[0].feed(samples)
        else:
            self._feed_both(*self._loudest.feed(samples))

    def _feed_both(self, all_channels: np.ndarray, loudest: np.ndarray) -> None:
        mean, single = self._mixes
        self._each(partial(mean.feed, all_channels), partial(single.feed, loudest[:, None]))

    def _each(self, first: Callable[[], None], *others: Callable[[], None]) -> None:
        """Do so for each lane; at once, where the engine waits until all its streams have a block,
        so that no lane waits for another."""
        if self._helper is None:
            for call in (first, *others):
                call()
            return
        waiting = [self._helper.submit(call) for call in others]
        first()
        for other in waiting:
            other.result()

    def _merged(self) -> list[tuple[ScoredFrames, list[ScoredFrames]]]:
        """The frames that all lanes have, and those of each."""
        merged = []
        while all(lane.waiting for lane in self._mixes):
            frames = [lane.waiting.popleft() for lane in self._mixes]
            highest = frames[0]
            if len(frames) > 1:
                highest = ScoredFrames(*(np.maximum(*pair) for pair in zip(*frames, strict=True)))
            merged.append((highest, frames))
        return merged

    def _strongest_channel(self, d: Detection) -> str | None:
        """Who spoke in an event: the loudest channel, where it reached the threshold and stood out
        of the mean by 3 dB or the mean did not reach it; else their mean."""
        if self._channel is not None:
            return str(self._channel)
        if self._loudest is None:
            return MIX if self._channels > 1 else None
        frame, first = self.grid.frame, d.onset + self._base
        last = self._base + (d.detected if d.offset is None else d.offset)
        mean = single = 0.0
        stands_out, at = False, first
        for start, _, gunshots, levels in self._recent:
            part = slice(max(0, -(-(first - start) // frame)), max(0, -(-(last - start) // frame)))
            if not gunshots[0, part].size:
                continue
            mean = max(mean, float(gunshots[0, part].max()))
            i = part.start + int(gunshots[1, part].argmax())
            if gunshots[1, i] > single:
                single, at = float(gunshots[1, i]), start + i * frame
                stands_out = bool(levels[1, i] > 2.0 * levels[0, i])
        if single < d.threshold or (mean >= d.threshold and not stands_out):
            return MIX
        middle = at - self._base + frame // 2
        return str(self._loudest.channel_at(middle * self._rate // self.grid.rate))

    def _decide(self, blocks: list[tuple[ScoredFrames, list[ScoredFrames]]]) -> list[Detection]:
        found: list[Detection] = []
        for frames, lanes in blocks:
            self._remember(frames, lanes)
            self._state, some = decision.step(self.config, self.grid, self._state, frames)
            found += [self._shift(d) for d in some]
        return found

    def _remember(self, frames: ScoredFrames, lanes: list[ScoredFrames]) -> None:
        if self._keep_scores:
            self._kept.append(frames.scores)
        start = self._base + self._state.frame * self.grid.frame
        if self._watch is not None:
            rate = self.grid.rate
            self._watch(start / rate, self.grid.frame / rate, frames.scores[:, 0])
        gunshots = np.stack([lane.scores[:, 0] for lane in lanes])
        levels = np.stack([lane.level for lane in lanes])
        self._recent.append(_FrameBlock(start, frames.scores, gunshots, levels))
        self._recent_frames += len(frames.scores)
        most = _KEPT_S * self.grid.rate / self.grid.frame
        while self._recent_frames - len(self._recent[0].scores) > most:
            self._recent_frames -= len(self._recent.popleft().scores)

    def _shift(self, d: Detection) -> Detection:
        d = replace(d, channel=self._strongest_channel(d))
        return d if not self._base else d.shifted(self._base)
