"""What has been counted since it was last asked, into the metrics."""

from __future__ import annotations

from collections.abc import Iterable

from streamdet.daemon.builders import QueuedOutput
from streamdet.daemon.event_storage import EventStorage
from streamdet.daemon.managed_source import ManagedSource, SourceCounts
from streamdet.daemon.metrics import RESULTS, Metrics
from streamdet.daemon.supervision import SourceState


class MetricsPublisher:
    """Counters grow by what the sums have grown; a gauge is what it is now."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._told: dict[ManagedSource, SourceCounts] = {}
        self._lost: dict[ManagedSource, float] = {}
        self._boxes: dict[QueuedOutput, dict[str, int]] = {}
        self._said: dict[tuple[str, str, str], int] = {}

    def publish(self, ears: Iterable[ManagedSource], boxes: Iterable[QueuedOutput]) -> None:
        """Bring all of it up to date."""
        ears, boxes = list(ears), list(boxes)
        for ear in ears:
            self._ear(ear)
        for box in boxes:
            self._box(box)
        for gone in self._told.keys() - set(ears):
            del self._told[gone]
        for gone in self._boxes.keys() - set(boxes):
            del self._boxes[gone]

    def publish_storage(self, ears: Iterable[ManagedSource], evidence: EventStorage | None) -> None:
        """What was said of the events of these sources, over restarts, and what became of clips."""
        names = {ear.name for ear in ears}
        self._said = {key: count for key, count in self._said.items() if key[0] in names}
        if evidence is None:
            return
        m = self._metrics
        clips = {(name, "clip", of): count for (name, of), count in evidence.clip_results.items()}
        counters = {"review": m.reviews, "false": m.false_positives, "clip": m.clips_made}
        for (name, kind, label), count in {**evidence.verdict_counts, **clips}.items():
            was = self._said.get((name, kind, label), 0)
            if name in names and count > was:
                counters[kind].labels(name, label).inc(count - was)
                self._said[name, kind, label] = count
        for window, said in evidence.recent_verdicts.items():
            for name in names:
                yes, no = said.get(name, (0, 0))
                m.precision.labels(name, window).set(yes / (yes + no) if yes + no else float("nan"))
                m.reviewed.labels(name, window).set(yes + no)
        m.clips.set(evidence.clip_bytes)

    def newly_lost_s(self, ear: ManagedSource) -> float:
        """The seconds of audio that the last `publish` was the first to count as lost."""
        return self._lost.pop(ear, 0.0)

    def _ear(self, ear: ManagedSource) -> None:
        m, name, now = self._metrics, ear.name, ear.counts
        was = self._told.get(ear, SourceCounts())
        state = ear.condition.state
        m.up.labels(name).set(ear.condition.receiving)
        for each in SourceState:
            m.state.labels(name, each).set(each is state)
        m.audio.labels(name).inc(now.analysed_s - was.analysed_s)
        m.overflows.labels(name).inc(now.overflows - was.overflows)
        lost, dropped = now.lost_s - was.lost_s, now.dropped_s - was.dropped_s
        m.dropped.labels(name, "overflow").inc(lost)
        m.dropped.labels(name, "backlog").inc(dropped)
        m.reconnects.labels(name).inc(now.reopened - was.reopened)
        m.clipped.labels(name).inc(now.clipped - was.clipped)
        m.backlog.labels(name).set(ear.backlog_s)
        m.rms.labels(name).set(ear.level if ear.condition.receiving else 0.0)
        if ear.last_audio is not None:
            m.last_audio.labels(name).set(ear.last_audio)
        if lost + dropped > 0:
            self._lost[ear] = lost + dropped
        self._told[ear] = SourceCounts(**vars(now))

    def _box(self, box: QueuedOutput) -> None:
        was, now = self._boxes.get(box, {}), dict(box.counts)
        for result in RESULTS:
            grown = now[result] - was.get(result, 0)
            self._metrics.sink_events.labels(box.name, result).inc(grown)
        self._metrics.sink_queue.labels(box.name).set(box.length)
        self._boxes[box] = now
