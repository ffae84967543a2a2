"""Updates the Prometheus metrics from the counts that sources, outputs and the store keep."""

from __future__ import annotations

from collections.abc import Iterable

from streamdet.daemon.builders import QueuedOutput
from streamdet.daemon.event_storage import EventStorage
from streamdet.daemon.managed_source import ManagedSource, SourceCounts
from streamdet.daemon.metrics import RESULTS, Metrics
from streamdet.daemon.supervision import SourceState


class MetricsPublisher:
    """Increases each counter by what its count has grown since the last call, and sets gauges."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._source_counts: dict[ManagedSource, SourceCounts] = {}
        self._newly_lost_s: dict[ManagedSource, float] = {}
        self._output_counts: dict[QueuedOutput, dict[str, int]] = {}
        self._storage: EventStorage | None = None
        self._storage_counts: dict[tuple[str, str, str], int] = {}

    def publish(self, sources: Iterable[ManagedSource], outputs: Iterable[QueuedOutput]) -> None:
        """Update the metrics of sources and outputs."""
        sources, outputs = list(sources), list(outputs)
        for source in sources:
            self._publish_source(source)
        for output in outputs:
            self._publish_output(output)
        for removed in self._source_counts.keys() - set(sources):
            del self._source_counts[removed]
        for removed in self._output_counts.keys() - set(outputs):
            del self._output_counts[removed]

    def publish_storage(
        self, sources: Iterable[ManagedSource], storage: EventStorage | None
    ) -> None:
        """Update the metrics of reviews and clips. Reviews include those of earlier runs."""
        names = {source.name for source in sources}
        published = {key: n for key, n in self._storage_counts.items() if key[0] in names}
        if storage is not self._storage:  # a new storage counts its clips from 0
            published = {key: n for key, n in published.items() if key[1] != "clip"}
        self._storage, self._storage_counts = storage, published
        if storage is None:
            return
        m = self._metrics
        counters = {"review": m.reviews, "false": m.false_positives, "clip": m.clips_made}
        results = storage.clip_results.copy()  # the storage thread adds keys
        clips = {(name, "clip", result): count for (name, result), count in results.items()}
        for (name, kind, label), count in {**storage.verdict_counts, **clips}.items():
            before = published.get((name, kind, label), 0)
            if name in names and count > before:
                counters[kind].labels(name, label).inc(count - before)
                published[name, kind, label] = count
        for window, verdicts in storage.recent_verdicts.items():
            for name in names:
                true, false = verdicts.get(name, (0, 0))
                reviewed = true + false
                m.precision.labels(name, window).set(true / reviewed if reviewed else float("nan"))
                m.reviewed.labels(name, window).set(reviewed)
        m.clips.set(storage.clip_bytes)

    def newly_lost_s(self, source: ManagedSource) -> float:
        """Seconds of audio lost since the last call, as of the last `publish`."""
        return self._newly_lost_s.pop(source, 0.0)

    def _publish_source(self, source: ManagedSource) -> None:
        m, name, counts = self._metrics, source.name, source.counts
        before = self._source_counts.get(source, SourceCounts())
        m.up.labels(name).set(source.condition.receiving)
        for state in SourceState:
            m.state.labels(name, state).set(state is source.condition.state)
        m.audio.labels(name).inc(counts.analysed_s - before.analysed_s)
        m.overflows.labels(name).inc(counts.overflows - before.overflows)
        lost_s = counts.lost_s - before.lost_s
        dropped_s = counts.dropped_s - before.dropped_s
        m.dropped.labels(name, "overflow").inc(lost_s)
        m.dropped.labels(name, "backlog").inc(dropped_s)
        m.reconnects.labels(name).inc(counts.reopened - before.reopened)
        m.clipped.labels(name).inc(counts.clipped - before.clipped)
        m.threshold.labels(name).set(source.threshold)
        expected = source.budget.state.expected_per_day
        m.expected_false_alarms.labels(name).set(float(f"{expected:.4g}"))
        m.background.labels(name).set(source.budget.background_s)
        m.backlog.labels(name).set(source.backlog_s)
        m.rms.labels(name).set(source.level if source.condition.receiving else 0.0)
        if source.last_audio is not None:
            m.last_audio.labels(name).set(source.last_audio)
        if lost_s + dropped_s > 0:
            self._newly_lost_s[source] = lost_s + dropped_s
        self._source_counts[source] = SourceCounts(**vars(counts))

    def _publish_output(self, output: QueuedOutput) -> None:
        before, counts = self._output_counts.get(output, {}), dict(output.counts)
        for result in RESULTS:
            increase = counts[result] - before.get(result, 0)
            self._metrics.sink_events.labels(output.name, result).inc(increase)
        self._metrics.sink_queue.labels(output.name).set(output.length)
        self._output_counts[output] = counts
