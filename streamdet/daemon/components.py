"""What a daemon is made of at the moment: sources, one batch, outputs, a server; how each is made,
and how an event goes through them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import Any, Protocol

from streamdet.config.layers import ConfigError
from streamdet.config.schema import Config, SourceConfig
from streamdet.daemon import builders
from streamdet.daemon.builders import QueuedOutput
from streamdet.daemon.event_storage import EventStorage
from streamdet.daemon.health import HealthStatus
from streamdet.daemon.http import HttpError, MetricsServer
from streamdet.daemon.log import DaemonLog
from streamdet.daemon.managed_source import ManagedSource
from streamdet.daemon.metrics import Metrics
from streamdet.detection import incident
from streamdet.detection.event import Detection, Event
from streamdet.detection.incident import Incident
from streamdet.detection.stream_batch import StreamBatch
from streamdet.model.bundle import Bundle
from streamdet.outputs.queue import OutputQueue
from streamdet.outputs.store import StoreOutput

CURVE_S = 0.5


@dataclass(frozen=True)
class DaemonCallbacks:
    """What the parts may ask of the daemon, from any thread: to ``wake``, to ``stop``, and whether
    it is ``healthy`` and ``hearing``; and who makes the review ``page``."""

    wake: Callable[[], None]
    stop: Callable[[], None]
    healthy: Callable[[], HealthStatus]
    ready: Callable[[], HealthStatus]
    page: ReviewPageFactory


class ReviewPage(Protocol):
    """The review page, served from threads of its own."""

    def start(self) -> None:
        """Begin to answer."""
        ...

    def publish_event(self, record: dict[str, Any]) -> None:
        """An event's line, as the outputs get it; returns at once."""
        ...

    def publish_audio(self, parts: DaemonComponents, now: float) -> None:
        """What is heard now, for those who look on; returns at once."""
        ...

    def close(self) -> None:
        """Stop, and let the address go."""
        ...


ReviewPageFactory = Callable[[Config, EventStorage, "DaemonComponents"], ReviewPage]
"""Makes a page of a configuration that has one; raises ConfigError."""


def no_page(_config: Config, _evidence: EventStorage, _parts: DaemonComponents) -> ReviewPage:
    """Where none can be made."""
    raise ConfigError(["web: no page can be had here"])


@dataclass
class DaemonComponents:
    """Made of a configuration, nothing of it begun; raises ConfigError where it can't be. All of
    it belongs to the daemon's thread, and `reload.apply` alone changes what it is made of."""

    config: Config
    bundle: Bundle
    log: DaemonLog
    callbacks: DaemonCallbacks
    random: Random = field(default_factory=Random)

    def __post_init__(self) -> None:
        config = self.config
        batch = StreamBatch(builders.build_engine(config, self.bundle))
        self.metrics = Metrics(batch.engine.model, [s.name for s in config.sources])
        self.use_model(self.bundle, batch)
        self.sources = [self.create_source(config, source) for source in config.sources]
        self.outputs: dict[str, QueuedOutput] = {}
        self.incident: Incident | None = None
        self.storage: EventStorage | None = None
        self.page: ReviewPage | None = None
        self.add_storage(config)
        for name in builders.OUTPUT_NAMES:
            if builders.output_key(config, name) is not None:
                self.add_output(name, config)
        self.server = self.create_server(config)
        self.page = self.create_page(config)

    def use_model(self, bundle: Bundle, batch: StreamBatch) -> None:
        """Hear by this bundle from now on."""
        self.bundle, self.batch, self.model = bundle, batch, batch.engine.model
        self.metrics.set_model(self.model)

    def create_source(self, config: Config, source: SourceConfig) -> ManagedSource:
        """An ear for a source, not open yet."""
        return ManagedSource(
            source,
            builders.build_retry_policy(config, source),
            builders.build_decision(config, self.bundle, source),
            lambda: builders.create_live_source(config, source, self.callbacks.wake),
            10.0 ** (config.silence_dbfs / 20.0),
            self.random,
        )

    def add_output(self, name: str, config: Config) -> QueuedOutput:
        """An output of the configuration, not started yet; raises ConfigError."""
        box = builders.build_output(config, name, self._output_changed, self.callbacks.stop)
        self.outputs[name] = box
        self.metrics.add_sink(name)
        return box

    def create_server(self, config: Config) -> MetricsServer | None:
        """The server that the configuration wants, not started yet; raises ConfigError."""
        if config.http.address == "off":
            return None
        token, calls = builders.metrics_token(config), self.callbacks
        try:
            return MetricsServer(
                config.http, token, self.metrics.registry, calls.healthy, calls.ready
            )
        except HttpError as error:
            raise ConfigError([str(error)]) from error

    def add_storage(self, config: Config) -> None:
        """The event store of the configuration, if it has one, not begun; raises ConfigError."""
        self.storage = builders.open_storage(config)
        if self.storage is not None and config.store is not None:
            to, queue = StoreOutput(self.storage.store), config.store.queue
            noted = partial(self._output_changed, "store")
            self.outputs["store"] = OutputQueue("store", to, queue, "both", noted)
            self.metrics.add_sink("store")

    def create_page(self, config: Config) -> ReviewPage | None:
        """The review page that the configuration wants, not started; raises ConfigError."""
        if config.web is None or config.web.address == "off" or self.storage is None:
            return None
        return self.callbacks.page(config, self.storage, self)

    def start(self) -> None:
        """Begin to answer, to deliver and to keep."""
        if self.server is not None:
            self.server.start()
        for name, box in self.outputs.items():
            if name != "store":
                box.start()
        self.start_storage()
        if self.page is not None:
            self.page.start()

    def start_storage(self) -> None:
        """Begin to keep, if there is anything to keep."""
        if self.storage is not None:
            self.storage.start(self._report_problem)
            self.outputs["store"].start()

    def close_source(self, ear: ManagedSource) -> None:
        """Let go of a source; what is open in it ends."""
        self.publish_detections(ear, ear.close())
        if self.storage is not None and self.storage.recorder is not None:
            self.storage.recorder.abandon(ear)
        ear.release()

    def publish_detections(self, ear: ManagedSource, found: list[Detection]) -> None:
        """Give what was found to every output, and count it."""
        rate = self.batch.grid.rate
        for detection in found:
            late = ear.latency_s(detection, rate)
            event = ear.event(detection, self.model, rate)
            record = event.record()
            self.incident, begun = incident.add_event(self.incident, record, time.monotonic())
            for told in (record, *([begun] if begun else [])):
                for name, box in self.outputs.items():
                    if name != "store":
                        box.offer(told)
            self._store_event(ear, detection, event, record)
            if self.page is not None:
                self.page.publish_event(record)
            if detection.phase == "onset":
                ear.counts.events += 1
                self.metrics.count_onset(event, late)
            else:
                ear.counts.rounds += detection.rounds
                self.metrics.record_final(event)

    def update_incident(self, now: float, *, ending: bool = False) -> None:
        """Tell of an incident that is over, or of one that is open at the end."""
        was = self.incident
        if was is not None and (ending or incident.is_over(was, now, self.config.incident_gap_s)):
            self.incident = None
            for box in self.outputs.values():
                box.offer(was.record("final"))

    def _store_event(
        self, ear: ManagedSource, d: Detection, event: Event, record: dict[str, Any]
    ) -> None:
        if self.storage is None or self.incident is None:
            return
        rate, recorder = self.batch.grid.rate, self.storage.recorder
        final = d.phase == "final"
        curve = ear.history.scores_around(d, CURVE_S) if final and ear.history is not None else None
        self.outputs["store"].offer({**record, "curve": curve, "incident": self.incident.id})
        if recorder is not None and final:
            recorder.finish(event.id, d, rate, record)
        elif recorder is not None:
            recorder.start(ear, event.id, d, rate)

    def _report_problem(self, kind: str, words: str) -> None:
        self.metrics.errors.labels("store").inc()
        self.log.emit(kind, words, "warning")

    def _output_changed(self, name: str, fault: str | None) -> None:
        if fault is None:
            self.log.emit("sink_well", "delivers again", source=name)
        else:
            self.metrics.errors.labels("sink").inc()
            self.log.emit("sink_failing", fault, "warning", source=name)
