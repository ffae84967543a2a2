"""One live source, over all its openings: a feed, its road, and where both stand in time."""

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
from streamdet.pipeline.source_pipeline import SourcePipeline

_MOST_S = 0.5
"""So much of a source is taken in one turn, that one far behind does not keep the others."""
_FULL_SCALE = 0.999


@dataclass
class SourceCounts:
    """Sums since the daemon began, over every opening; seconds and samples as named."""

    analysed_s: float = 0.0
    overflows: int = 0
    lost_s: float = 0.0
    dropped_s: float = 0.0
    clipped: int = 0
    reopened: int = 0
    events: int = 0
    rounds: int = 0


AudioTap = Callable[["ManagedSource", int, np.ndarray], None]
"""Told what an ear takes: the index of the first sample since the source was opened, and ``(n,)
float32`` as they are heard, at the source's rate."""


class ManagedSource:
    """A source of the configuration. All of it but the feed's thread belongs to the daemon's."""

    def __init__(
        self,
        config: SourceConfig,
        policy: RetryPolicy,
        decision: DecisionConfig,
        create_live_source: Callable[[], LiveSource],
        silence: float,
        random: Random,
    ) -> None:
        self.config, self.policy, self.decision = config, policy, decision
        self.condition = supervision.initial_condition(time.monotonic())
        self.counts = SourceCounts()
        self.level = 0.0
        self.last_audio: float | None = None
        self._create_live_source, self._silence, self._random = create_live_source, silence, random
        self._hours = tuple(schedule.parse_hours(text) for text in config.active)
        self._live: LiveSource | None = None
        self._pipeline: SourcePipeline | None = None
        self._abandoned: list[LiveSource] = []
        self._origin: float | None = None
        self._wall = 0.0
        self._base = self._end = self._samples = 0
        self._losses = (0, 0, 0)
        self._loud = False
        self._fault: str | None = None
        self._reason: Reason = "lost"
        self._open: Event | None = None
        self._buffer = np.zeros((0, 1), np.float32)
        self._placed = False
        self.history: SourceHistory | None = None
        self.taps: list[AudioTap] = []

    @property
    def name(self) -> str:
        """What events and metrics call it."""
        return self.config.name

    @property
    def format(self) -> str:
        """Rate and channels in words, once it is open."""
        feed = self._live
        if feed is None or feed.ring is None:
            return "not open"
        channels = "channel" if feed.channels == 1 else "channels"
        return f"{feed.rate} Hz, {feed.channels} {channels}"

    @property
    def backlog_s(self) -> float:
        """Audio that came and is not analysed yet."""
        feed = self._live
        return feed.ring.unread / feed.rate if feed is not None and feed.ring else 0.0

    @property
    def reason(self) -> Reason:
        """Of what kind its last failure was."""
        return self._reason

    @property
    def stuck_threads(self) -> int:
        """Threads of former openings that will not let go."""
        self._abandoned = [feed for feed in self._abandoned if feed.stuck]
        return len(self._abandoned)

    def supervise(self, now: float, local: datetime) -> Action:
        """Go on to its next condition, and open it where that is due; the answer "close" is for
        the caller to act upon, who tells what `close` finds."""
        seen = self._observe(local)
        self._loud = False
        self.condition, action = supervision.step(
            self.policy, self.condition, seen, now, self._random.random()
        )
        if action == "open":
            self._open_live_source()
        return action

    def feed_batch(self, batch: StreamBatch) -> list[Detection]:
        """Put what has come into the batch; the detections that need no step: those that a gap
        ends."""
        feed = self._live
        if feed is None or feed.ring is None or self._fault is not None:
            return []
        road = self._pipeline or self._start_pipeline(feed, batch)
        if road is None:
            return []
        start, count = feed.ring.read_into(self._buffer, 0.0)
        self._count_losses(feed)
        if not count:
            return []
        samples = self._buffer[:count]
        if self.history is not None:
            self.history.taken = start + count
        if self.taps:
            mono = np.nan_to_num(downmix(samples, self.config.channel))  # a copy
            for tap in tuple(self.taps):
                tap(self, start, mono)
        self._measure(samples)
        self._samples += count
        self.counts.analysed_s += count / feed.rate
        if feed.is_realtime:
            self.last_audio = self._wall + feed.clock.time_of((start + count) / feed.rate)
        found = road.feed(Block(start, samples))
        feed.min_unread = road.samples_needed
        return found

    def poll(self) -> list[Detection]:
        """The detections of the steps that were made."""
        return [] if self._pipeline is None else self._pipeline.poll()

    def close(self) -> list[Detection]:
        """Let go of the feed; what is open ends."""
        found = []
        if self._pipeline is not None:
            found = self._pipeline.finish()
            self._pipeline.close()
            rate = self._pipeline.grid.rate
            feed = self._live
            if feed is not None and feed.ring is not None:
                self._end = self._base + round(feed.ring.written / feed.rate * rate)
        if self._live is not None:
            self._count_losses(self._live)
            self._live.close()
            self._abandoned.append(self._live)
        self._pipeline, self._fault = None, None
        return found

    def restart_pipeline(self, decision: DecisionConfig) -> list[Detection]:
        """Go on over another batch or with another decision, from a cold state; what is open
        ends."""
        self.decision = decision
        found = []
        if self._pipeline is not None:
            found = self._pipeline.finish()
            self._pipeline.close()
            self._pipeline = None
        return found

    def release(self) -> None:
        """The feed that was closed is no more; called once its last events are told."""
        self._live = self.history = None

    def join(self, seconds: float) -> None:
        """Wait at most so long for what was closed to have let go."""
        for feed in self._abandoned:
            feed.join(seconds)

    def event(self, d: Detection, model: ModelId, rate: int) -> Event:
        """A detection of this opening as an event: in samples since the first opening, and in
        UTC. Both lines of one have the time of the first."""
        if d.phase == "final" and self._open is not None:
            was, self._open = self._open, None
            placed = d.shifted(self._base)
            return Event(placed, was.id, self.name, rate, was.unix_s, model)
        feed = self._live
        unix_s = None
        if feed is not None and feed.is_realtime:
            unix_s = self._wall + feed.clock.time_of(d.onset / rate)
        placed = d.shifted(self._base)
        event = event_from_detection(
            placed, source=self.name, model=model, rate=rate, unix_s=unix_s
        )
        self._open = event if d.phase == "onset" else None
        return event

    def latency_s(self, d: Detection, rate: int) -> float | None:
        """How long ago its onset was; None where that has no meaning."""
        feed = self._live
        if feed is None or not feed.is_realtime:
            return None
        return time.monotonic() - feed.clock.time_of(d.onset / rate)

    def _open_live_source(self) -> None:
        if self.condition.tries or self._samples:
            self.counts.reopened += 1
        self._live = self._create_live_source()
        self._samples, self._losses, self._fault = 0, (0, 0, 0), None
        self._placed, self._reason = False, "lost"
        self._live.start()

    def _start_pipeline(self, feed: LiveSource, batch: StreamBatch) -> SourcePipeline | None:
        """The road of a feed whose first samples are there, and where its first one stands."""
        if not feed.clock.started:
            return None
        source, rate = self.config, batch.grid.rate
        try:
            self._pipeline = SourcePipeline(
                batch, self.decision, feed.rate, feed.channels, source.channel,
                gain_db=source.gain_db,
            )  # fmt: skip
        except ChannelError as error:
            self._fault, self._reason = f"channel: {error}", "bad"
            return None
        taken = 0 if self.history is None else self.history.taken
        if feed.ring is not None:
            self.history = SourceHistory(feed, feed.ring, self._pipeline, source.channel, taken)
        if not self._placed:
            first = feed.clock.time_of(0.0)
            self._wall = time.time() - time.monotonic()
            self._origin = first if self._origin is None else self._origin
            self._base = max(self._end, round((first - self._origin) * rate))
            self._buffer = np.zeros((round(_MOST_S * feed.rate), feed.channels), np.float32)
            self._placed = True
        return self._pipeline

    def _measure(self, samples: np.ndarray) -> None:
        flat = samples.reshape(-1)
        power = float(np.dot(flat, flat)) / flat.size
        if not np.isfinite(power):
            flat = np.nan_to_num(flat, nan=0.0, posinf=0.0, neginf=0.0)
            power = float(np.dot(flat, flat)) / flat.size
        self.level = power**0.5
        self._loud = self._loud or self.level > self._silence
        if max(flat.max(), -flat.min()) >= _FULL_SCALE:
            self.counts.clipped += int(np.count_nonzero(np.abs(flat) >= _FULL_SCALE))

    def _observe(self, local: datetime) -> SourceObservation:
        feed = self._live
        wanted = schedule.is_active(self._hours, local)
        if feed is None:
            return SourceObservation(scheduled=wanted)
        drained = feed.ring is None or feed.ring.ended
        fault, hopeless = self._fault, self._fault is not None
        if fault is None and feed.done and drained and feed.failure is not None:
            fault, hopeless = str(feed.failure), feed.failure.reason == "bad"
            self._reason = feed.failure.reason
        return SourceObservation(
            scheduled=wanted,
            opened=feed.ring is not None,
            samples=self._samples,
            silent=not self._loud,
            fault=fault,
            permanent=hopeless,
            ended=feed.ended and drained and not feed.stopping.is_set(),
        )

    def _count_losses(self, feed: LiveSource) -> None:
        if feed.ring is None:
            return
        seen = (feed.overflows, feed.lost, feed.ring.dropped)
        overflows, lost, dropped = (now - was for now, was in zip(seen, self._losses, strict=True))
        self.counts.overflows += overflows
        self.counts.lost_s += lost / feed.rate
        self.counts.dropped_s += dropped / feed.rate
        self._losses = seen
