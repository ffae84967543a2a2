"""What the daemon counts, for Prometheus; one registry for each daemon."""

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
    """Every series of every source and sink stands at 0 from the start, so that none appears
    late; those of a source that is taken out go."""

    def __init__(self, model: ModelId, sources: Iterable[str], sinks: Iterable[str] = ()) -> None:
        disable_created_metrics()
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self._build = Gauge(
            "streamdet_build_info",
            "1: what is running.",
            ("version", "model", "model_version", "model_sha256"),
            registry=registry,
        )
        self.set_model(model)
        self._of_source: list[tuple[Any, tuple[tuple[str, ...], ...]]] = []
        self.up = self._gauge("source_up", "1 while samples of it arrive.")
        self.state = self._gauge(
            "source_state", "1 for the state that it is in.", state=tuple(SourceState)
        )
        self.audio = self._counter("audio_seconds", "Audio analysed.")
        self.detections = self._counter("detections", "Gunshot events.")
        self.false_positives = self._counter(
            "false_positives", "Events that a review called false.", cause=CAUSES
        )
        self.reviews = self._counter("reviews", "Verdicts on events.", verdict=VERDICTS)
        self.precision = self._gauge(
            "precision_ratio",
            "Of the window's events that were called true or false, the true ones; NaN without.",
            window=tuple(WINDOWS),
        )
        self.reviewed = self._gauge(
            "reviewed_events", "The window's events that are true or false.", window=tuple(WINDOWS)
        )
        self.clips_made = self._counter("clips", "Clips by what became of them.", result=CLIPS)
        self.overflows = self._counter("input_overflows", "Times that samples were lost.")
        self.dropped = self._counter(
            "dropped_audio_seconds",
            "Audio never analysed: lost on the way in (overflow) or come too fast (backlog).",
            reason=REASONS,
        )
        self.reconnects = self._counter("source_reconnects", "Times that it was opened anew.")
        self.clipped = self._counter("clipped_samples", "Samples at full scale.")
        self.backlog = self._gauge("backlog_seconds", "Audio heard and not yet analysed.")
        self.last_audio = self._gauge(
            "last_audio_timestamp_seconds", "UTC of the newest sample analysed; 0 before it."
        )
        self.last_detection = self._gauge(
            "last_detection_timestamp_seconds", "UTC of the newest event's onset; 0 before it."
        )
        self.rms = self._gauge("input_rms_ratio", "RMS of the newest samples, 1 at full scale.")
        self.latency = self._histogram(
            "detection_latency_seconds", "From an onset in the air to its event.", _LATENCIES
        )
        self.score = self._histogram("detection_score", "Best score of each event.", _SCORES)
        self.inference = Histogram(
            "streamdet_inference_duration_seconds",
            "A step of all sources that have a block.",
            buckets=_SECONDS,
            registry=registry,
        )
        self.sink_events = Counter(
            "streamdet_sink_events", "Events by what became of them.", ("sink", "result"),
            registry=registry,
        )  # fmt: skip
        self.sink_queue = Gauge(
            "streamdet_sink_queue_length", "Events not delivered yet.", ("sink",), registry=registry
        )
        self.errors = Counter(
            "streamdet_errors", "Faults, by where.", ("component",), registry=registry
        )
        self.reloads = Counter(
            "streamdet_config_reloads", "Configurations read anew.", ("result",), registry=registry
        )
        self.clips = Gauge("streamdet_clip_storage_bytes", "Clips kept on disk.", registry=registry)
        for component in COMPONENTS:
            self.errors.labels(component)
        for result in ("good", "bad"):
            self.reloads.labels(result)
        for source in sources:
            self.add_source(source)
        for sink in sinks:
            self.add_sink(sink)

    def set_model(self, model: ModelId) -> None:
        """This bundle speaks from now on."""
        self._build.clear()
        self._build.labels(installed_version(), model.name, model.version, model.sha256).set(1)

    def add_source(self, source: str) -> None:
        """Its series, at 0."""
        for metric, values in self._of_source:
            for more in values:
                metric.labels(source, *more)
        for window in WINDOWS:
            self.precision.labels(source, window).set(float("nan"))

    def remove_source(self, source: str) -> None:
        """None of its series any more."""
        for metric, values in self._of_source:
            for more in values:
                metric.remove(source, *more)

    def add_sink(self, sink: str) -> None:
        """Its series, at 0."""
        self.sink_queue.labels(sink)
        for result in RESULTS:
            self.sink_events.labels(sink, result)

    def count_onset(self, event: Event, latency_s: float | None) -> None:
        """Count an event at its onset, told so many seconds behind it."""
        self.detections.labels(event.source).inc()
        if latency_s is not None:
            self.latency.labels(event.source).observe(max(0.0, latency_s))
        if event.unix_s is not None:
            self.last_detection.labels(event.source).set(event.unix_s)

    def record_final(self, event: Event) -> None:
        """Note an event's final score."""
        self.score.labels(event.source).observe(event.detection.score)

    def _counter(self, name: str, words: str, **more: tuple[str, ...]) -> Counter:
        return self._source_metric(Counter, name, words, more)

    def _gauge(self, name: str, words: str, **more: tuple[str, ...]) -> Gauge:
        return self._source_metric(Gauge, name, words, more)

    def _histogram(self, name: str, words: str, buckets: tuple[float, ...]) -> Histogram:
        return self._source_metric(Histogram, name, words, {}, buckets=buckets)

    def _source_metric(
        self, kind: Any, name: str, words: str, more: Mapping[str, tuple[str, ...]], **others: Any
    ) -> Any:
        """A metric of each source, with the values of at most one more label."""
        labels = ("source", *more)
        metric = kind(f"streamdet_{name}", words, labels, registry=self.registry, **others)
        values = next(iter(more.values()), None)
        self._of_source.append((metric, ((),) if values is None else tuple((v,) for v in values)))
        return metric
