"""What the daemon counts, for Prometheus; one registry for each daemon."""

from __future__ import annotations

from wsgiref.simple_server import WSGIServer

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    ProcessCollector,
    disable_created_metrics,
    start_http_server,
)

import streamdet
from streamdet.detect.event import Event, ModelName

_SECONDS = (0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 1.0)
_LATENCIES = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.75, 1.0, 2.0, 5.0)
_SCORES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)


class MetricsError(ValueError):
    """The endpoint can't be served; the message is one line."""


class Metrics:
    """Every series of every source stands at 0 from the start, so that none appears late."""

    def __init__(self, model: ModelName, sources: list[str]) -> None:
        disable_created_metrics()
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        build = Info("streamdet_build", "What is running.", registry=registry)
        build.info(
            {
                "version": streamdet.__version__,
                "model": model.name,
                "model_version": model.version,
                "model_sha256": model.sha256,
            }
        )
        of_source = {"labelnames": ("source",), "registry": registry}
        self.up = Gauge("streamdet_source_up", "1 while samples of it arrive.", **of_source)
        self.audio = Counter("streamdet_audio_seconds", "Audio analysed.", **of_source)
        self.detections = Counter("streamdet_detections", "Gunshot events.", **of_source)
        self.false_positives = Counter(
            "streamdet_false_positives", "Events that a review called false.", **of_source
        )
        self.overflows = Counter(
            "streamdet_input_overflows", "Times that the device lost samples.", **of_source
        )
        self.dropped = Counter(
            "streamdet_dropped_audio_seconds",
            "Audio never analysed: lost by the device (overflow) or come too fast (backlog).",
            ("source", "reason"),
            registry=registry,
        )
        self.backlog = Gauge(
            "streamdet_backlog_seconds", "Audio heard and not yet analysed.", **of_source
        )
        self.last_audio = Gauge(
            "streamdet_last_audio_timestamp_seconds",
            "UTC time of the newest sample analysed; 0 before the first.",
            **of_source,
        )
        self.last_detection = Gauge(
            "streamdet_last_detection_timestamp_seconds",
            "UTC time of the newest event's onset; 0 before the first.",
            **of_source,
        )
        self.rms = Gauge(
            "streamdet_input_rms_ratio", "RMS of the newest block, 1 at full scale.", **of_source
        )
        self.inference = Histogram(
            "streamdet_inference_duration_seconds",
            "From a block of samples to its decision.",
            buckets=_SECONDS,
            **of_source,
        )
        self.latency = Histogram(
            "streamdet_detection_latency_seconds",
            "From an onset in the air to its event on stdout.",
            buckets=_LATENCIES,
            **of_source,
        )
        self.score = Histogram(
            "streamdet_detection_score", "Best score of each event.", buckets=_SCORES, **of_source
        )
        for source in sources:
            self._export(source)

    def _export(self, source: str) -> None:
        for metric in (
            self.up,
            self.audio,
            self.detections,
            self.false_positives,
            self.overflows,
            self.backlog,
            self.last_audio,
            self.last_detection,
            self.rms,
            self.inference,
            self.latency,
            self.score,
        ):
            metric.labels(source)
        for reason in ("overflow", "backlog"):
            self.dropped.labels(source, reason)

    def opened(self, event: Event, latency_s: float) -> None:
        """Count an event at its onset."""
        self.detections.labels(event.source).inc()
        self.latency.labels(event.source).observe(max(0.0, latency_s))
        if event.unix_s is not None:
            self.last_detection.labels(event.source).set(event.unix_s)

    def closed(self, event: Event) -> None:
        """Note an event's final score."""
        self.score.labels(event.source).observe(event.detection.score)


def serve(metrics: Metrics, host: str, port: int) -> WSGIServer:
    """Serve ``/metrics`` from a thread; raises MetricsError where the address can't be had."""
    try:
        server, _ = start_http_server(port, host, metrics.registry)
    except (OSError, OverflowError) as error:
        raise MetricsError(
            f"--metrics {host}:{port}: {getattr(error, 'strerror', None) or error};"
            " choose another, or --metrics off"
        ) from error
    return server
