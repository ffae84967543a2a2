"""One source from samples to detections. Live sources and files use the same pipeline.

blocks -> MonoResampler -> ScoreStream (frontend, encoder, recurrent head) -> decision -> detections

With a verifier, the decision finds candidates, and `streamdet.detection.confirmation` reports which
of them are verified.

A source with several channels can be analysed as two mixes at once, the mean of all channels and
the loudest channel. The decision then takes the higher score of each frame.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial

import numpy as np

from streamdet.audio.loudest import LoudestChannel
from streamdet.audio.resample import MonoResampler
from streamdet.audio.source import Block
from streamdet.detection import confirmation, decision, verification
from streamdet.detection.decision import DecisionConfig
from streamdet.detection.engine import ScoreStream, StreamProvider
from streamdet.detection.event import Detection
from streamdet.detection.frames import NO_LOG_MEL, FrameGrid, ScoredFrames
from streamdet.detection.verification import VerifiedScores
from streamdet.detection.window_scorer import WindowScorer
from streamdet.pipeline.score_history import ScoreHistory

_NONE = np.zeros(0, np.float32)

ScoreCallback = Callable[[float, float, np.ndarray], None]
"""Called with (start_s, frame_s, ``(t,)`` gunshot scores) for all frames, in order."""
MIX = "mix"
"""The ``channel`` of a detection in the mean of several channels."""


class _ChannelMix:
    """One mono signal of a source: its frames that the other mix does not have yet, and its final
    scores likewise, if there is a verifier. ``threshold`` is that of candidates."""

    def __init__(
        self,
        resampler: MonoResampler,
        stream: ScoreStream,
        scorer: WindowScorer | None,
        threshold: float,
    ) -> None:
        self.stream, self.waiting = stream, deque[ScoredFrames]()
        self._threshold = threshold
        self.final = np.zeros(0, np.float32)
        self._resampler, self._scorer = resampler, scorer
        self._taken: list[ScoredFrames] = []
        self._state = None if scorer is None else verification.init(scorer)

    def feed(self, samples: np.ndarray) -> None:
        """Analyse samples of the source."""
        self._analyse(self._resampler.feed(samples))

    def finish(self) -> None:
        """Analyse what is buffered."""
        self._analyse(self._resampler.finish())
        self.waiting.extend(self.stream.finish())

    def take(self) -> ScoredFrames:
        """Take the oldest frames."""
        frames = self.waiting.popleft()
        if self._scorer is not None:
            self._taken.append(frames)
        return frames._replace(log_mel=NO_LOG_MEL)

    def verify(self, *, ending: bool) -> int:
        """Add the scores that are final now to ``final``; returns the number of windows scored."""
        if self._scorer is None or self._state is None:
            return 0
        log_mel = [self._state.log_mel[:0], *(frames.log_mel for frames in self._taken)]
        scores = [_NONE, *(frames.scores[:, 0] for frames in self._taken)]
        self._taken = []
        self._state, verified = verification.step(
            self._scorer, self._threshold, self._state, np.concatenate(log_mel),
            np.concatenate(scores), ending=ending,
        )  # fmt: skip
        self.final = np.concatenate([self.final, verified.scores])
        return verified.windows

    def _analyse(self, samples: np.ndarray) -> None:
        self.waiting.extend(self.stream.feed(samples))


class SourcePipeline:
    """Takes the blocks of one source in order and returns its detections.

    Detections are in samples of the model's rate since sample 0 of the source. A gap between two
    blocks closes the open event and restarts the pipeline after the gap, so that later times stay
    right. ``loudest`` adds the loudest channel as a second mix, where the source has several
    channels and ``channel`` does not select one. `history` holds the scores of the last 30 s.

    ``scorer`` is the bundle's verifier; None does without. With one, ``config.threshold`` applies
    to its scores, and scores that are kept or passed to ``on_scores`` are final ones. `windows`
    counts those that it has scored.

    Raises ChannelError where the source has no such ``channel``.
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
        scorer: WindowScorer | None = None,
    ) -> None:
        self.engine, self.config, self.rate = engine, config, rate
        self.scorer, self.windows = scorer, 0
        # a threshold below that of candidates needs the verifier's scores from there on
        self._candidate = 1.0 if scorer is None else min(scorer.threshold, config.threshold)
        self._decision = config if scorer is None else config.for_candidates(self._candidate)
        self._channels, self._channel, self._gain_db = channels, channel, gain_db
        self._two_mixes = loudest and channel is None and channels > 1
        self._on_scores = on_scores
        self._all_scores: list[np.ndarray] | None = [] if keep_scores else None
        self._all_final: list[np.ndarray] = []
        self.history = ScoreHistory(engine.grid)
        self._start_stream(0)

    @property
    def grid(self) -> FrameGrid:
        """How frames lie on samples."""
        return self.engine.grid

    @property
    def samples_needed(self) -> int:
        """Samples of the source that complete the next step."""
        return -(-self._mixes[0].stream.samples_needed * self.rate // self.grid.rate)

    @property
    def next_frame(self) -> int:
        """The sample of the model's rate at which the next frame starts."""
        return self._base + self._state.frame * self.grid.frame

    def feed(self, block: Block) -> list[Detection]:
        """The detections that this block completes."""
        detections: list[Detection] = []
        if block.start != self._next:
            detections = self.finish()
            self.close()
            self._start_stream(block.start)
        self._next = block.start + len(block.samples)
        if self._loudest is None:
            self._mixes[0].feed(block.samples)
        else:
            self._feed_mixes(*self._loudest.feed(block.samples))
        return detections + self._decide()

    def poll(self) -> list[Detection]:
        """The detections from steps of a batch that were made since the last call."""
        for mix in self._mixes:
            mix.waiting.extend(mix.stream.poll())
        return self._decide()

    def finish(self) -> list[Detection]:
        """End the stream: analyse what is buffered and close the open event."""
        if self._loudest is not None:
            self._feed_mixes(*self._loudest.finish())
        self._run_each(*(mix.finish for mix in self._mixes))
        return self._decide(ending=True)

    def close(self) -> None:
        """Release the streams of the engine."""
        if self._helper is not None:
            self._helper.shutdown()
        for mix in self._mixes:
            mix.stream.close()

    def scores(self) -> tuple[np.ndarray, np.ndarray]:
        """All scores with ``keep_scores``: start of each frame in seconds (t,), (t, labels)."""
        if not self._all_scores:
            return np.zeros(0), np.zeros((0, len(self.grid.labels)), np.float32)
        scores = np.concatenate(self._all_scores)
        if self.scorer is not None:
            scores[:, 0] = np.concatenate(self._all_final)
        first = self._base / self.grid.rate
        return first + np.arange(len(scores)) * self.grid.frame / self.grid.rate, scores

    def _start_stream(self, start: int) -> None:
        self._next = start
        self._base = round(start * self.grid.rate / self.rate)
        self._state = decision.init(self._decision, self.grid)
        self._confirmation = confirmation.init(self.config, self.grid)
        self._known = 0
        self._loudest = LoudestChannel(self.rate, self._channels) if self._two_mixes else None
        self._helper = ThreadPoolExecutor(1) if self._two_mixes and self.engine.shared else None
        self._mixes = [self._new_mix(self._channels, self._channel)]
        if self._two_mixes:
            self._mixes.append(self._new_mix(1, None))

    def _new_mix(self, channels: int, channel: int | None) -> _ChannelMix:
        resampler = MonoResampler(self.rate, channels, self.grid.rate, channel, self._gain_db)
        return _ChannelMix(resampler, self.engine.stream(), self.scorer, self._candidate)

    def _feed_mixes(self, all_channels: np.ndarray, loudest: np.ndarray) -> None:
        mean, single = self._mixes
        self._run_each(partial(mean.feed, all_channels), partial(single.feed, loudest[:, None]))

    def _run_each(self, first: Callable[[], None], *others: Callable[[], None]) -> None:
        """Call each function. They run in parallel if the engine waits until all its streams have a
        block: one after the other, the first would wait for the second forever."""
        if self._helper is None:
            for call in (first, *others):
                call()
            return
        futures = [self._helper.submit(call) for call in others]
        first()
        for future in futures:
            future.result()

    def _decide(self, *, ending: bool = False) -> list[Detection]:
        """Decide on the frames that all mixes have. ``ending``: no more follow."""
        detections: list[Detection] = []
        added: list[ScoredFrames] = []
        while all(mix.waiting for mix in self._mixes):
            by_mix = [mix.take() for mix in self._mixes]
            frames = by_mix[0]
            if len(by_mix) > 1:
                frames = ScoredFrames(*(np.maximum(*pair) for pair in zip(*by_mix, strict=True)))
            self._record(frames, by_mix)
            self._state, new = decision.step(self._decision, self.grid, self._state, frames)
            detections += new
            added.append(frames)
        if ending:
            self._state, closed = decision.finish(self._decision, self.grid, self._state)
            detections += closed
        if self.scorer is not None and (added or ending):
            detections = self._verify(detections, added, ending=ending)
        return [self._locate(d) for d in detections]

    def _verify(
        self, detections: list[Detection], frames: list[ScoredFrames], *, ending: bool
    ) -> list[Detection]:
        """Replace candidates by what is known of them now."""
        self.windows += sum(mix.verify(ending=ending) for mix in self._mixes)
        count = min(len(mix.final) for mix in self._mixes)
        scores = np.maximum.reduce([mix.final[:count] for mix in self._mixes])
        for mix in self._mixes:
            mix.final = mix.final[count:]
        start = self._known
        self._known += count
        self._record_final(self._base + start * self.grid.frame, scores)
        self._confirmation, reported = confirmation.step(
            self.config, self.grid, self._confirmation, detections, frames,
            VerifiedScores(start, scores, 0), ending=ending,
        )  # fmt: skip
        return reported

    def _record(self, frames: ScoredFrames, by_mix: list[ScoredFrames]) -> None:
        start = self.next_frame
        self.history.add(start, frames, by_mix)
        if self._all_scores is not None:
            self._all_scores.append(frames.scores)
        if self.scorer is None:
            self._pass_scores(start, frames.scores[:, 0])

    def _record_final(self, start: int, scores: np.ndarray) -> None:
        self.history.revise(start, scores)
        if self._all_scores is not None:
            self._all_final.append(scores)
        if len(scores):
            self._pass_scores(start, scores)

    def _pass_scores(self, start: int, scores: np.ndarray) -> None:
        if self._on_scores is not None:
            rate = self.grid.rate
            self._on_scores(start / rate, self.grid.frame / rate, scores)

    def _locate(self, d: Detection) -> Detection:
        """The detection in samples of the source's time, with its channel."""
        d = d.shifted(self._base)
        return replace(d, channel=self._channel_of(d))

    def _channel_of(self, d: Detection) -> str | None:
        if self._channel is not None:
            return str(self._channel)
        if self._loudest is None:
            return MIX if self._channels > 1 else None
        last = d.detected if d.offset is None else d.offset
        at = self.history.louder_mix(d.onset, last, self._decision.threshold)
        if at is None:
            return MIX
        middle = at - self._base + self.grid.frame // 2
        return str(self._loudest.channel_at(middle * self.rate // self.grid.rate))
