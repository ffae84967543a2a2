"""One configured live source across reconnects: its stream, its pipeline, and its place in time."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from random import Random

import numpy as np

from streamdet.audio.live import LiveSource
from streamdet.audio.resample import ChannelError, downmix
from streamdet.audio.source import Block, Reason
from streamdet.config import schedule
from streamdet.config.schema import SourceConfig
from streamdet.daemon import supervision
from streamdet.daemon.source_history import SourceHistory
from streamdet.daemon.supervision import Action, RetryPolicy, SourceObservation
from streamdet.detection.decision import DecisionConfig
from streamdet.detection.event import Detection, Event, ModelId, event_from_detection
from streamdet.detection.stream_batch import StreamBatch
from streamdet.detection.window_scorer import WindowScorer
from streamdet.pipeline.budget_threshold import BudgetThreshold
from streamdet.pipeline.source_pipeline import SourcePipeline

_MAX_READ_S = 0.5
"""The most audio read from a source in one iteration, so that a backlog does not delay others."""
_FULL_SCALE = 0.999


@dataclass
class SourceCounts:
    """Totals since the daemon started, across reconnects."""

    analysed_s: float = 0.0
    overflows: int = 0
    lost_s: float = 0.0
    dropped_s: float = 0.0
    clipped: int = 0
    reopened: int = 0
    events: int = 0
    rounds: int = 0


AudioTap = Callable[["ManagedSource", int, np.ndarray], None]
"""Called with a source, the index of the first sample since the source was opened, and the
``(n,) float32`` mono samples read, at the source's rate."""


class ManagedSource:
    """A configured source. Belongs to the daemon's thread; only the `LiveSource` has its own."""

    def __init__(
        self,
        config: SourceConfig,
        policy: RetryPolicy,
        decision: DecisionConfig,
        create_live_source: Callable[[], LiveSource],
        silence_level: float,
        random: Random,
        budget: BudgetThreshold,
    ) -> None:
        self.config, self.policy, self.decision, self.budget = config, policy, decision, budget
        self.condition = supervision.initial_condition(time.monotonic())
        self.counts = SourceCounts()
        self.level = 0.0
        self.last_audio: float | None = None
        self.history: SourceHistory | None = None
        self.taps: list[AudioTap] = []
        self._create_live_source, self._random = create_live_source, random
        self._silence_level = silence_level
        self._hours = tuple(schedule.parse_hours(text) for text in config.active)
        self._live: LiveSource | None = None
        self._pipeline: SourcePipeline | None = None
        self._abandoned: list[LiveSource] = []
        self._fault: str | None = None
        self._reason: Reason = "lost"
        self._open_events: dict[int, Event] = {}
        self._buffer = np.zeros((0, 1), np.float32)
        self._has_sound = False
        self._samples = 0
        self._losses = (0, 0, 0)
        # the time axis of events: samples of the model's rate since the first opening
        self._placed = False
        self._first_opened: float | None = None
        self._wall_offset = 0.0
        self._base = self._end = 0

    @property
    def name(self) -> str:
        """The source's name in events and metrics."""
        return self.config.name

    @property
    def threshold(self) -> float:
        """The probability that opens an event now: the budget's, or the configured one."""
        return self.budget.threshold

    @property
    def format(self) -> str:
        """Sample rate and channel count as text, once the source is open."""
        live = self._live
        if live is None or live.ring is None:
            return "not open"
        channels = "channel" if live.channels == 1 else "channels"
        return f"{live.rate} Hz, {live.channels} {channels}"

    @property
    def backlog_s(self) -> float:
        """Seconds of audio received and not analysed yet."""
        live = self._live
        return live.ring.unread / live.rate if live is not None and live.ring else 0.0

    @property
    def reason(self) -> Reason:
        """The kind of the last failure."""
        return self._reason

    @property
    def stuck_threads(self) -> int:
        """How many threads of closed streams have not ended yet."""
        self._abandoned = [live for live in self._abandoned if live.stuck]
        return len(self._abandoned)

    def supervise(self, now: float, local: datetime) -> Action:
        """Advance to the next condition, and open the source if that is due.

        If the answer is "close", the caller must call `close` and publish what it returns.
        """
        observation = self._observe(local)
        self._has_sound = False
        self.condition, action = supervision.step(
            self.policy, self.condition, observation, now, self._random.random()
        )
        if action == "open":
            self._open_live_source()
        return action

    def feed_batch(self, batch: StreamBatch, scorer: WindowScorer | None) -> list[Detection]:
        """Put the new samples into the batch. Returns detections that a gap in the samples ends.

        ``scorer`` is the bundle's verifier, if it is on.
        """
        live = self._live
        if live is None or live.ring is None or self._fault is not None:
            return []
        pipeline = self._pipeline or self._start_pipeline(live, batch, scorer)
        if pipeline is None:
            return []
        start, count = live.ring.read_into(self._buffer, 0.0)
        self._count_losses(live)
        if not count:
            return []
        samples = self._buffer[:count]
        if self.history is not None:
            self.history.taken = start + count
        if self.taps:
            mono = downmix(samples, self.config.channel)
            mono = np.nan_to_num(mono, nan=0.0, posinf=0.0, neginf=0.0)  # a copy
            for tap in tuple(self.taps):
                tap(self, start, mono)
        self._measure(samples)
        self._samples += count
        self.counts.analysed_s += count / live.rate
        if live.is_realtime:
            self.last_audio = self._wall_offset + live.clock.time_of((start + count) / live.rate)
        detections = pipeline.feed(Block(start, samples))
        live.min_unread = pipeline.samples_needed
        return detections

    def poll(self) -> list[Detection]:
        """The detections of the batch's last steps."""
        return [] if self._pipeline is None else self._pipeline.poll()

    def close(self) -> list[Detection]:
        """Close the stream. Returns the detections that this ends."""
        detections = []
        if self._pipeline is not None:
            rate = self._pipeline.grid.rate
            detections = self._finish_pipeline()
            live = self._live
            if live is not None and live.ring is not None:
                self._end = self._base + round(live.ring.written / live.rate * rate)
        if self._live is not None:
            self._count_losses(self._live)
            self._live.close()
            self._abandoned.append(self._live)
        self._fault = None
        return detections

    def restart_pipeline(
        self, decision: DecisionConfig, budget: BudgetThreshold
    ) -> list[Detection]:
        """Continue with a new pipeline, for another batch or decision, from its initial state.

        Returns the detections that this ends. The stream stays open.
        """
        detections = [] if self._pipeline is None else self._finish_pipeline()
        self.decision, self.budget = decision, budget
        return detections

    def release(self) -> None:
        """Drop the closed stream. Call it once the events of `close` have been published."""
        self._live = self.history = None

    def join(self, timeout_s: float) -> None:
        """Wait for each closed stream's thread, for at most ``timeout_s`` seconds each."""
        for live in self._abandoned:
            live.join(timeout_s)

    def event(self, detection: Detection, model: ModelId, rate: int) -> Event:
        """A detection of the open stream as an event, in samples since the first opening and UTC.

        All records of an event have the id of its first.
        """
        placed = detection.shifted(self._base)
        onset = self._open_events.get(placed.first_onset)
        if onset is not None:
            if detection.phase == "final":
                del self._open_events[placed.first_onset]
                self.budget.identify(detection.onset, onset.id)
            unix_s = onset.unix_s
            if unix_s is not None:
                unix_s += (placed.onset - onset.detection.onset) / rate
            return Event(placed, onset.id, self.name, rate, unix_s, model)
        live = self._live
        unix_s = None
        if live is not None and live.is_realtime:
            unix_s = self._wall_offset + live.clock.time_of(detection.onset / rate)
        event = event_from_detection(
            placed, source=self.name, model=model, rate=rate, unix_s=unix_s
        )
        if detection.phase == "onset":
            self._open_events[placed.first_onset] = event
        return event

    def latency_s(self, detection: Detection, rate: int) -> float | None:
        """Seconds since the onset of a detection; None for a source that is not in real time."""
        live = self._live
        if live is None or not live.is_realtime:
            return None
        return time.monotonic() - live.clock.time_of(detection.onset / rate)

    def _open_live_source(self) -> None:
        if self.condition.tries or self._samples:
            self.counts.reopened += 1
        self._live = self._create_live_source()
        self._samples, self._losses, self._fault = 0, (0, 0, 0), None
        self._placed, self._reason = False, "lost"
        self._live.start()

    def _start_pipeline(
        self, live: LiveSource, batch: StreamBatch, scorer: WindowScorer | None
    ) -> SourcePipeline | None:
        """Create the pipeline once the first samples have arrived, and place them in time."""
        if not live.clock.started:
            return None
        config, rate = self.config, batch.grid.rate
        try:
            self._pipeline = SourcePipeline(
                batch, self.decision, live.rate, live.channels, config.channel,
                gain_db=config.gain_db, scorer=scorer, budget=self.budget,
            )  # fmt: skip
        except ChannelError as error:
            self._fault, self._reason = f"channel: {error}", "bad"
            return None
        taken = 0 if self.history is None else self.history.taken
        if live.ring is not None:
            self.history = SourceHistory(live, live.ring, self._pipeline, config.channel, taken)
        if not self._placed:
            opened = live.clock.time_of(0.0)
            self._wall_offset = time.time() - time.monotonic()
            self._first_opened = opened if self._first_opened is None else self._first_opened
            self._base = max(self._end, round((opened - self._first_opened) * rate))
            self._buffer = np.zeros((round(_MAX_READ_S * live.rate), live.channels), np.float32)
            self._placed = True
        return self._pipeline

    def _finish_pipeline(self) -> list[Detection]:
        if self._pipeline is None:
            return []
        detections = self._pipeline.finish()
        self._pipeline.close()
        self._pipeline = None
        return detections

    def _measure(self, samples: np.ndarray) -> None:
        flat = samples.reshape(-1)
        power = float(np.dot(flat, flat)) / flat.size
        if not np.isfinite(power):
            flat = np.nan_to_num(flat, nan=0.0, posinf=0.0, neginf=0.0)
            power = float(np.dot(flat, flat)) / flat.size
        self.level = power**0.5
        self._has_sound = self._has_sound or self.level > self._silence_level
        if max(flat.max(), -flat.min()) >= _FULL_SCALE:
            self.counts.clipped += int(np.count_nonzero(np.abs(flat) >= _FULL_SCALE))

    def _observe(self, local: datetime) -> SourceObservation:
        live = self._live
        scheduled = schedule.is_active(self._hours, local)
        if live is None:
            return SourceObservation(scheduled=scheduled)
        drained = live.ring is None or live.ring.ended
        fault, permanent = self._fault, self._fault is not None
        if fault is None and live.done and drained and live.failure is not None:
            fault, permanent = str(live.failure), live.failure.reason == "bad"
            self._reason = live.failure.reason
        return SourceObservation(
            scheduled=scheduled,
            opened=live.ring is not None,
            samples=self._samples,
            silent=not self._has_sound,
            fault=fault,
            permanent=permanent,
            ended=live.ended and drained and not live.stopping.is_set(),
        )

    def _count_losses(self, live: LiveSource) -> None:
        if live.ring is None:
            return
        losses = (live.overflows, live.lost, live.ring.dropped)
        overflows, lost, dropped = (
            now - before for now, before in zip(losses, self._losses, strict=True)
        )
        self.counts.overflows += overflows
        self.counts.lost_s += lost / live.rate
        self.counts.dropped_s += dropped / live.rate
        self._losses = losses
