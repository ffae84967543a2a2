"""One source from samples to detections. Live sources and files use the same pipeline.

blocks -> MonoResampler -> ScoreStream (frontend, encoder, recurrent head) -> decision -> detections

With a verifier, the decision finds candidates, and `streamdet.detection.confirmation` reports which
of them are verified.

A source with several channels can be analysed as two mixes at once, the mean of all channels and
the loudest channel. The decision then takes the higher score of each frame.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial

import numpy as np

from streamdet.audio.loudest import LoudestChannel
from streamdet.audio.resample import MonoResampler
from streamdet.audio.source import Block
from streamdet.detection import confirmation, decision
from streamdet.detection.decision import DecisionConfig
from streamdet.detection.engine import StreamProvider
from streamdet.detection.event import Detection
from streamdet.detection.frames import FrameGrid, ScoredFrames
from streamdet.detection.verification import VerifiedScores
from streamdet.detection.window_scorer import WindowScorer
from streamdet.pipeline.budget_threshold import BudgetThreshold
from streamdet.pipeline.channel_mix import NO_SCORES, ChannelMix
from streamdet.pipeline.score_history import ScoreHistory

ScoreCallback = Callable[[float, float, np.ndarray], None]
"""Called with (start_s, frame_s, ``(t,)`` gunshot scores) for all frames, in order."""
MIX = "mix"
"""The ``channel`` of a detection in the mean of several channels."""
_PATIENCE_S = 60.0


class SourcePipeline:
    """Takes the blocks of one source in order and returns its detections.

    Detections are in samples of the model's rate since sample 0 of the source. A gap between two
    blocks closes the open event and restarts the pipeline after the gap, so that later times stay
    right. ``loudest`` adds the loudest channel as a second mix, where the source has several
    channels and ``channel`` does not select one. `history` holds the scores of the last 30 s.

    ``scorer`` is the bundle's verifier; None does without. With one, ``config.threshold`` applies
    to its scores, and scores that are kept or passed to ``on_scores`` are final ones. `windows`
    counts those that it has scored.

    ``budget`` sets the threshold instead of ``config``, between two blocks of the engine, and gets
    all final scores.

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
        budget: BudgetThreshold | None = None,
    ) -> None:
        self.engine, self.config, self.rate = engine, config, rate
        self.scorer, self.windows, self._budget = scorer, 0, budget
        self._use_threshold(config.threshold if budget is None else budget.threshold)
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
        self._known, self._idle = 0, self._base
        self._loudest = LoudestChannel(self.rate, self._channels) if self._two_mixes else None
        self._helper = ThreadPoolExecutor(1) if self._two_mixes and self.engine.shared else None
        self._mixes = [self._new_mix(self._channels, self._channel)]
        if self._two_mixes:
            self._mixes.append(self._new_mix(1, None))

    def _new_mix(self, channels: int, channel: int | None) -> ChannelMix:
        resampler = MonoResampler(self.rate, channels, self.grid.rate, channel, self._gain_db)
        return ChannelMix(resampler, self.engine.stream(), self.scorer)

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
        while all(mix.waiting for mix in self._mixes):
            by_mix = [mix.take() for mix in self._mixes]
            frames = by_mix[0]
            if len(by_mix) > 1:
                frames = ScoredFrames(*(np.maximum(*pair) for pair in zip(*by_mix, strict=True)))
            self._record(frames, by_mix)
            self._state, new = decision.step(self._decision, self.grid, self._state, frames)
            detections += self._confirm(new, [frames])
        if ending:
            self._state, closed = decision.finish(self._decision, self.grid, self._state)
            detections += self._confirm(closed, [], ending=True)
            if self._budget is not None:
                self._budget.finish()
        return detections

    def _use_threshold(self, threshold: float) -> None:
        """Decide at ``threshold``. One below that of candidates needs the verifier's scores from
        there on."""
        self.config = self._decision = replace(self.config, threshold=threshold)
        if self.scorer is not None:
            self._decision = self.config.for_candidates(min(self.scorer.threshold, threshold))

    def _confirm(
        self, detections: list[Detection], frames: list[ScoredFrames], *, ending: bool = False
    ) -> list[Detection]:
        """The detections that are reported now. Passes the final scores to the budget.

        ``detections`` and ``frames`` are those of the first stage for one block of the engine.
        """
        scores = frames[0].scores[:, 0] if frames else NO_SCORES
        if self.scorer is not None:
            detections, scores = self._verify(detections, frames, ending=ending)
        if self._budget is not None:
            is_open = self._is_event_open()
            self._budget.add(self.grid, scores, detections, event_open=is_open, base=self._base)
            if self._budget.threshold != self.config.threshold:
                if self.scorer is not None:
                    self._confirmation = confirmation.settle(
                        self.config, self.grid, self._confirmation
                    )
                self._use_threshold(self._budget.threshold)
        return [self._locate(d) for d in detections]

    def _is_event_open(self) -> bool:
        """Whether an event is open, or may become known: a candidate is open, or a frame waits for
        its final score. Candidates that follow each other for longer than ``_PATIENCE_S`` do not
        count, or the threshold could never change where they do."""
        first, second, frame = self._state.event, self._confirmation.decision.event, self.next_frame
        if self.scorer is None:
            return first is not None
        waits = self._known < self._state.frame
        if first is None and second is None and not waits and not self._confirmation.candidates:
            self._idle = frame
        return second is not None or 0 < frame - self._idle < _PATIENCE_S * self.grid.rate

    def _verify(
        self, detections: list[Detection], frames: list[ScoredFrames], *, ending: bool
    ) -> tuple[list[Detection], np.ndarray]:
        """The detections that are reported now, and the (t,) scores that are final now."""
        candidate = self._decision.threshold
        self.windows += sum(mix.verify(candidate, ending=ending) for mix in self._mixes)
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
        return reported, scores

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
