"""The daemon's Prometheus metrics. Each daemon has a registry of its own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)

from streamdet.daemon.event_storage import WINDOWS
from streamdet.daemon.supervision import SourceState
from streamdet.detection.event import Event, ModelId
from streamdet.store.verdict import CAUSES, VERDICTS
from streamdet.version import installed_version

_SECONDS = (0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 1.0)
_LATENCIES = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.75, 1.0, 2.0, 5.0)
_SCORES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
REASONS = ("overflow", "backlog")
RESULTS = ("delivered", "failed", "rejected", "dropped")
COMPONENTS = ("source", "sink", "config", "store")
CLIPS = ("kept", "redacted", "no_room", "failed", "dropped")


class Metrics:
    """All series of a source or sink exist, at 0, as soon as it is added, as Prometheus recommends.

    `remove_source` removes the series of a source that a reload has taken out.
    """

    def __init__(self, model: ModelId, sources: Iterable[str], sinks: Iterable[str] = ()) -> None:
        disable_created_metrics()
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self._build = Gauge(
            "streamdet_build_info",
            "Always 1; the labels say which version and model are running.",
            ("version", "model", "model_version", "model_sha256"),
            registry=registry,
        )
        self.set_model(model)
        self._source_metrics: list[tuple[Any, tuple[tuple[str, ...], ...]]] = []
        self.up = self._gauge("source_up", "1 while samples arrive, silent or not.")
        self.state = self._gauge(
            "source_state", "1 for the current state, 0 for all others.", state=tuple(SourceState)
        )
        self.audio = self._counter("audio_seconds", "Seconds of audio analysed.")
        self.detections = self._counter("detections", "Gunshot events, counted at their onset.")
        self.candidates = self._counter("candidates", "Onsets that the first stage reported.")
        self.verified = self._counter("verified", "Candidates that the second stage confirmed.")
        self.false_positives = self._counter(
            "false_positives", "Events reviewed as false, by cause.", cause=CAUSES
        )
        self.reviews = self._counter("reviews", "Verdicts on events, by verdict.", verdict=VERDICTS)
        self.precision = self._gauge(
            "precision_ratio",
            "Share of true events among those reviewed as true or false; NaN if none.",
            window=tuple(WINDOWS),
        )
        self.reviewed = self._gauge(
            "reviewed_events",
            "Events reviewed as true or false.",
            window=tuple(WINDOWS),
        )
        self.threshold = self._gauge("threshold", "The score that opens an event.")
        self.expected_false_alarms = self._gauge(
            "expected_false_alarms_per_day", "False alarms expected at the threshold."
        )
        self.background = self._gauge(
            "background_seconds", "Audio without events that the threshold follows from."
        )
        self.clips_made = self._counter("clips", "Clips, by result.", result=CLIPS)
        self.overflows = self._counter("input_overflows", "Times that the input lost samples.")
        self.dropped = self._counter(
            "dropped_audio_seconds",
            "Audio not analysed: lost by the input (overflow) or arrived too fast (backlog).",
            reason=REASONS,
        )
        self.reconnects = self._counter("source_reconnects", "Times that the source was reopened.")
        self.clipped = self._counter("clipped_samples", "Samples at full scale, in any channel.")
        self.backlog = self._gauge("backlog_seconds", "Audio received and not analysed yet.")
        self.last_audio = self._gauge(
            "last_audio_timestamp_seconds", "UTC of the newest sample analysed; 0 if none."
        )
        self.last_detection = self._gauge(
            "last_detection_timestamp_seconds", "UTC of the newest event's onset; 0 if none."
        )
        self.rms = self._gauge("input_rms_ratio", "RMS of the newest samples; 1 is full scale.")
        self.latency = self._histogram(
            "detection_latency_seconds", "Time from an onset to its event.", _LATENCIES
        )
        self.score = self._histogram("detection_score", "Highest score of each event.", _SCORES)
        self.inference = Histogram(
            "streamdet_inference_duration_seconds",
            "Duration of one step, for all sources with a block.",
            buckets=_SECONDS,
            registry=registry,
        )
        self.verification = Histogram(
            "streamdet_verification_duration_seconds",
            "Duration of the second stage, for one window of a candidate.",
            buckets=_SECONDS,
            registry=registry,
        )
        self.sink_events = Counter(
            "streamdet_sink_events", "Events of each output, by result.", ("sink", "result"),
            registry=registry,
        )  # fmt: skip
        self.sink_queue = Gauge(
            "streamdet_sink_queue_length",
            "Events not delivered yet, in memory and on disk.",
            ("sink",),
            registry=registry,
        )
        self.errors = Counter(
            "streamdet_errors", "Errors, by component.", ("component",), registry=registry
        )
        self.reloads = Counter(
            "streamdet_config_reloads",
            "Configuration reloads, by result.",
            ("result",),
            registry=registry,
        )
        self.clips = Gauge(
            "streamdet_clip_storage_bytes", "Size of all clips on disk.", registry=registry
        )
        for component in COMPONENTS:
            self.errors.labels(component)
        for result in ("good", "bad"):
            self.reloads.labels(result)
        for source in sources:
            self.add_source(source)
        for sink in sinks:
            self.add_sink(sink)

    def set_model(self, model: ModelId) -> None:
        """Export the model that is in use."""
        self._build.clear()
        self._build.labels(installed_version(), model.name, model.version, model.sha256).set(1)

    def add_source(self, source: str) -> None:
        """Create the series of a source, at 0."""
        for metric, values in self._source_metrics:
            for value in values:
                metric.labels(source, *value)
        for window in WINDOWS:
            self.precision.labels(source, window).set(float("nan"))

    def remove_source(self, source: str) -> None:
        """Remove the series of a source."""
        for metric, values in self._source_metrics:
            for value in values:
                metric.remove(source, *value)

    def add_sink(self, sink: str) -> None:
        """Create the series of an output, at 0."""
        self.sink_queue.labels(sink)
        for result in RESULTS:
            self.sink_events.labels(sink, result)

    def count_candidate(self, event: Event, latency_s: float | None) -> None:
        """Count what the first stage reports. ``latency_s``: seconds from its onset until now."""
        self.candidates.labels(event.source).inc()
        if latency_s is not None:
            self.latency.labels(event.source).observe(max(0.0, latency_s))

    def count_event(self, event: Event) -> None:
        """Count an event at its onset, or once the second stage has confirmed it."""
        self.detections.labels(event.source).inc()
        if event.detection.verified:
            self.verified.labels(event.source).inc()
        if event.unix_s is not None:
            self.last_detection.labels(event.source).set(event.unix_s)

    def record_final(self, event: Event) -> None:
        """Record the score of an event that is over."""
        self.score.labels(event.source).observe(event.detection.score)

    def _counter(self, name: str, help_text: str, **labels: tuple[str, ...]) -> Counter:
        return self._source_metric(Counter, name, help_text, labels)

    def _gauge(self, name: str, help_text: str, **labels: tuple[str, ...]) -> Gauge:
        return self._source_metric(Gauge, name, help_text, labels)

    def _histogram(self, name: str, help_text: str, buckets: tuple[float, ...]) -> Histogram:
        return self._source_metric(Histogram, name, help_text, {}, buckets=buckets)

    def _source_metric(
        self,
        metric_type: Any,
        name: str,
        help_text: str,
        labels: Mapping[str, tuple[str, ...]],
        **options: Any,
    ) -> Any:
        """A metric of each source, with at most one more label and all of that label's values."""
        names = ("source", *labels)
        metric = metric_type(
            f"streamdet_{name}", help_text, names, registry=self.registry, **options
        )
        values = next(iter(labels.values()), None)
        rows = ((),) if values is None else tuple((value,) for value in values)
        self._source_metrics.append((metric, rows))
        return metric
