"""The parts of a running daemon (sources, batch, outputs, storage, servers), and the path of an
event through them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import Any, Protocol

from streamdet.config.layers import ConfigError
from streamdet.config.schema import Config, SourceConfig
from streamdet.daemon import builders, folders
from streamdet.daemon.backgrounds import BackgroundFiles
from streamdet.daemon.builders import QueuedOutput
from streamdet.daemon.event_storage import EventStorage
from streamdet.daemon.health import HealthStatus
from streamdet.daemon.http import HttpError, MetricsServer
from streamdet.daemon.log import DaemonLog
from streamdet.daemon.managed_source import ManagedSource, SourceCounts
from streamdet.daemon.metrics import Metrics
from streamdet.detection import incident
from streamdet.detection.event import Detection, Event
from streamdet.detection.incident import Incident
from streamdet.detection.stream_batch import StreamBatch
from streamdet.model.bundle import Bundle
from streamdet.outputs.queue import OutputQueue
from streamdet.outputs.store import StoreOutput
from streamdet.pipeline.budget_threshold import BudgetSetup, BudgetThreshold

CURVE_S = 0.5
"""The store keeps the scores from this long before an event to this long after it."""


@dataclass(frozen=True)
class DaemonCallbacks:
    """What the components call, from any thread. ``page`` creates the review page."""

    wake: Callable[[], None]
    stop: Callable[[], None]
    healthy: Callable[[], HealthStatus]
    ready: Callable[[], HealthStatus]
    page: ReviewPageFactory


class ReviewPage(Protocol):
    """The review page. It serves from threads of its own; all methods return at once."""

    def start(self) -> None:
        """Start to answer requests."""
        ...

    def publish_event(self, record: dict[str, Any], /) -> None:
        """Show an event; ``record`` is what the outputs get."""
        ...

    def publish_audio(self, components: DaemonComponents, now: float, /) -> None:
        """Show the current audio and scores to the viewers of the live page."""
        ...

    def close(self) -> None:
        """Stop, and release the address."""
        ...


ReviewPageFactory = Callable[[Config, EventStorage, "DaemonComponents"], ReviewPage]
"""Creates the configured page, bound to its address and not started. Raises ConfigError."""


def no_page(_config: Config, _storage: EventStorage, _components: DaemonComponents) -> ReviewPage:
    """The factory of a daemon without a review page."""
    raise ConfigError(["web: the review page is not available here"])


@dataclass
class DaemonComponents:
    """Builds all parts of a daemon and starts none. Raises ConfigError, and then closes them.

    ``closed_outputs`` are those closed since the metrics were last updated. ``undelivered`` is the
    number of events that closed outputs did not deliver. ``closed_counts`` are the totals of the
    sources that a reload replaced or removed.

    Everything here belongs to the daemon's thread. Only `reload.apply_config` replaces parts.
    """

    config: Config
    bundle: Bundle
    log: DaemonLog
    callbacks: DaemonCallbacks
    random: Random = field(default_factory=Random)

    def __post_init__(self) -> None:
        config = self.config
        batch = StreamBatch(builders.build_engine(config, self.bundle))
        self.metrics = Metrics(batch.engine.model, [source.name for source in config.sources])
        self.use_model(self.bundle, batch, verify=config.verify)
        self.backgrounds = self.create_background_files(config)
        self._applied_verdicts: Mapping[str, bool | None] | None = None
        self.sources = [self.create_source(config, source) for source in config.sources]
        self.closed_counts: list[SourceCounts] = []
        self.outputs: dict[str, QueuedOutput] = {}
        self.closed_outputs: list[QueuedOutput] = []
        self.undelivered = 0
        self.incident: Incident | None = None
        self.storage: EventStorage | None = None
        self.server: MetricsServer | None = None
        self.page: ReviewPage | None = None
        try:
            self.use_storage(builders.open_storage(config), config)
            for name in builders.OUTPUT_NAMES:
                if builders.output_key(config, name) is not None:
                    self.outputs[name] = self.create_output(name, config)
                    self.metrics.add_sink(name)
            self.server = self.create_server(config)
            self.page = self.create_page(config, self.storage)
        except ConfigError:
            self.close_unstarted()
            raise

    @property
    def description(self) -> str:
        """The model and the address of the metrics, for the log."""
        return f"model {self.model.name}; http {self.config.http.address}"

    def use_model(self, bundle: Bundle, batch: StreamBatch, *, verify: bool) -> None:
        """Analyse with this bundle, and with its verifier if ``verify``, from now on."""
        self.bundle, self.batch, self.model = bundle, batch, batch.engine.model
        self.scorer = builders.build_scorer(bundle, self.metrics, verify=verify)
        self.metrics.set_model(self.model)

    def use_storage(self, storage: EventStorage | None, config: Config) -> None:
        """Store events here from now on; starts nothing."""
        self.storage = storage
        if storage is not None and config.store is not None:
            output, length = StoreOutput(storage.store), config.store.queue
            on_change = partial(self._output_changed, "store")
            self.outputs["store"] = OutputQueue("store", output, length, on_change=on_change)
            self.metrics.add_sink("store")

    def create_background_files(self, config: Config) -> BackgroundFiles:
        """The files of the backgrounds; opens nothing."""
        return BackgroundFiles(folders.background_folder(config), self._background_failed)

    def create_source(self, config: Config, source: SourceConfig) -> ManagedSource:
        """A source, not open yet."""
        return ManagedSource(
            source,
            builders.build_retry_policy(config, source),
            builders.build_decision(config, self.bundle, source),
            lambda: builders.create_live_source(config, source, self.callbacks.wake),
            10.0 ** (config.silence_dbfs / 20.0),
            self.random,
            self.load_background(
                source.name, builders.build_background(config, self.bundle, source)
            ),
        )

    def create_output(self, name: str, config: Config) -> QueuedOutput:
        """An output that can be started. Raises ConfigError.

        Its spool is open, unless the running output uses the same file: a file has one owner.
        """
        output = builders.build_output(config, name, self._output_changed, self.callbacks.stop)
        if not builders.share_spool(self.outputs.get(name), output):
            builders.open_output(output)
        return output

    def create_server(self, config: Config) -> MetricsServer | None:
        """The metrics server, bound to its address and not started. Raises ConfigError."""
        if config.http.address == "off":
            return None
        token, callbacks = builders.metrics_token(config), self.callbacks
        try:
            return MetricsServer(
                config.http, token, self.metrics.registry, callbacks.healthy, callbacks.ready
            )
        except HttpError as error:
            raise ConfigError([str(error)]) from error

    def create_page(self, config: Config, storage: EventStorage | None) -> ReviewPage | None:
        """The review page, bound to its address and not started. Raises ConfigError."""
        if config.web is None or config.web.address == "off" or storage is None:
            return None
        on_attached = storage.on_attached
        try:
            return self.callbacks.page(config, storage, self)
        except ConfigError:
            storage.on_attached = on_attached  # of the page that stays
            raise

    def start(self) -> None:
        """Start the servers, the outputs and the storage."""
        if self.server is not None:
            self.server.start()
        for name, output in self.outputs.items():
            if name != "store":
                output.start()
        self.start_storage()
        self.start_page()

    def start_storage(self) -> None:
        """Start to store events, if a store is configured."""
        if self.storage is not None:
            self.storage.start(self._report_problem)
            self.outputs["store"].start()

    def start_page(self) -> None:
        """Start the review page, if one is configured, and log its address."""
        web = self.config.web
        if self.page is not None and web is not None:
            self.page.start()
            scheme = "http" if web.tls_cert is None else "https"
            self.log.emit("web", f"web: {scheme}://{web.address}/")

    def close_unstarted(self) -> None:
        """Release what the constructor has opened."""
        for output in self.outputs.values():
            output.close(0.0)
        for part in (self.page, self.server):
            if part is not None:
                part.close()
        if self.storage is not None:
            self.storage.close(0.0)

    def close_output(self, output: QueuedOutput, timeout_s: float) -> None:
        """Close an output. Count and log the events not delivered within ``timeout_s`` seconds."""
        count = output.close(timeout_s)
        self.closed_outputs.append(output)
        self.undelivered += count
        if count:
            message = f"{count} {'event was' if count == 1 else 'events were'} not delivered"
            self.log.emit("undelivered", message, "error", source=output.name)

    def close_source(self, source: ManagedSource) -> None:
        """Close a source, and publish the events that this ends."""
        self.publish_detections(source, source.close())
        if self.storage is not None and self.storage.recorder is not None:
            self.storage.recorder.abandon(source)
        source.release()
        self.save_backgrounds([source])

    def load_background(self, name: str, setup: BudgetSetup) -> BudgetThreshold:
        """The threshold of a source, with its saved background and the verdicts given since."""
        self._applied_verdicts = None
        return self.backgrounds.load(name, setup)

    def save_backgrounds(self, sources: Iterable[ManagedSource]) -> None:
        """Save the backgrounds of those of the sources that have a budget."""
        self.backgrounds.save(
            (source.name, source.budget)
            for source in sources
            if not source.budget.setup.config.fixed
        )

    def apply_verdicts(self) -> None:
        """Pass the reviewers' verdicts to the backgrounds, if there are new ones or new events."""
        if self.storage is None or self.storage.verdicts is self._applied_verdicts:
            return
        self._applied_verdicts = self.storage.verdicts
        for source in self.sources:
            source.budget.review(self._applied_verdicts)

    def publish_detections(self, source: ManagedSource, detections: list[Detection]) -> None:
        """Send detections as events to all outputs, and count them.

        Candidates that the verifier has not confirmed go to the outputs that ask for them, and
        nowhere else.
        """
        rate = self.batch.grid.rate
        for detection in detections:
            latency_s = source.latency_s(detection, rate)
            event = source.event(detection, self.model, rate)
            record = event.record()
            if detection.phase == "onset" and not detection.verified:
                self.metrics.count_candidate(event, latency_s)
            self._offer(record)
            if not event.confirmed:
                continue
            self.incident, started = incident.add_event(self.incident, record, time.monotonic())
            if started:
                self._offer(started)
            self._store_event(source, detection, event, record)
            if self.page is not None:
                self.page.publish_event(record)
            if detection.phase == "onset":
                source.counts.events += 1
                self.metrics.count_event(event)
            else:
                source.counts.rounds += detection.rounds
                self.metrics.record_final(event)
                self._applied_verdicts = None  # it may have been reviewed before its end

    def _offer(self, record: dict[str, Any]) -> None:
        """Offer a record to all outputs but the store, which gets more than the record."""
        for name, output in self.outputs.items():
            if name != "store":
                output.offer(record)

    def update_incident(self, now: float, *, ending: bool = False) -> None:
        """Publish the incident if it is over. ``ending``: the daemon stops, so it is over."""
        open_incident, gap_s = self.incident, self.config.incident_gap_s
        if open_incident is None:
            return
        if ending or incident.is_over(open_incident, now, gap_s):
            self.incident = None
            for output in self.outputs.values():
                output.offer(open_incident.record("final"))

    def _store_event(
        self, source: ManagedSource, detection: Detection, event: Event, record: dict[str, Any]
    ) -> None:
        if self.storage is None or self.incident is None:
            return
        rate, recorder, history = self.batch.grid.rate, self.storage.recorder, source.history
        final = detection.phase == "final"
        curve = history.scores_around(detection, CURVE_S) if final and history else None
        self.outputs["store"].offer({**record, "curve": curve, "incident": self.incident.id})
        if recorder is not None and final:
            recorder.finish(event.id, detection, rate, record)
        elif recorder is not None:
            recorder.start(source, event.id, detection, rate)

    def _report_problem(self, kind: str, message: str) -> None:
        self.metrics.errors.labels("store").inc()
        self.log.emit(kind, message, "warning")

    def _background_failed(self, source: str, message: str) -> None:
        self.metrics.errors.labels("store").inc()
        self.log.emit("background_failed", message, "warning", source=source)

    def _output_changed(self, name: str, fault: str | None) -> None:
        if fault is None:
            self.log.emit("sink_recovered", "delivering again", source=name)
        else:
            self.metrics.errors.labels("sink").inc()
            self.log.emit("sink_failing", fault, "warning", source=name)
