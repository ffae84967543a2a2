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
from streamdet.daemon.builders import Box
from streamdet.daemon.event_storage import Evidence
from streamdet.daemon.health import Answer
from streamdet.daemon.http import HttpError, Server
from streamdet.daemon.log import Log
from streamdet.daemon.managed_source import Ear
from streamdet.daemon.metrics import Metrics
from streamdet.detection import incident
from streamdet.detection.event import Detection, Event
from streamdet.detection.incident import Incident
from streamdet.detection.stream_batch import StreamBatch
from streamdet.model.bundle import Bundle
from streamdet.outputs.queue import Outbox
from streamdet.outputs.store import StoreOutput

CURVE_S = 0.5


@dataclass(frozen=True)
class Calls:
    """What the parts may ask of the daemon, from any thread: to ``wake``, to ``stop``, and whether
    it is ``healthy`` and ``hearing``; and who makes the review ``page``."""

    wake: Callable[[], None]
    stop: Callable[[], None]
    healthy: Callable[[], Answer]
    hearing: Callable[[], Answer]
    page: PageMaker


class Page(Protocol):
    """The review page, served from threads of its own."""

    def start(self) -> None:
        """Begin to answer."""
        ...

    def told(self, record: dict[str, Any]) -> None:
        """An event's line, as the outputs get it; returns at once."""
        ...

    def look(self, parts: Parts, now: float) -> None:
        """What is heard now, for those who look on; returns at once."""
        ...

    def close(self) -> None:
        """Stop, and let the address go."""
        ...


PageMaker = Callable[[Config, Evidence, "Parts"], Page]
"""Makes a page of a configuration that has one; raises ConfigError."""


def no_page(_config: Config, _evidence: Evidence, _parts: Parts) -> Page:
    """Where none can be made."""
    raise ConfigError(["web: no page can be had here"])


@dataclass
class Parts:
    """Made of a configuration, nothing of it begun; raises ConfigError where it can't be. All of
    it belongs to the daemon's thread, and `reload.apply` alone changes what it is made of."""

    config: Config
    bundle: Bundle
    log: Log
    calls: Calls
    random: Random = field(default_factory=Random)

    def __post_init__(self) -> None:
        config = self.config
        batch = StreamBatch(builders.engine(config, self.bundle))
        self.metrics = Metrics(batch.engine.model, [s.name for s in config.sources])
        self.take_model(self.bundle, batch)
        self.ears = [self.new_ear(config, source) for source in config.sources]
        self.boxes: dict[str, Box] = {}
        self.incident: Incident | None = None
        self.evidence: Evidence | None = None
        self.page: Page | None = None
        self.add_evidence(config)
        for name in builders.OUTPUTS:
            if builders.output_key(config, name) is not None:
                self.add_box(name, config)
        self.server = self.new_server(config)
        self.page = self.new_page(config)

    def take_model(self, bundle: Bundle, batch: StreamBatch) -> None:
        """Hear by this bundle from now on."""
        self.bundle, self.batch, self.model = bundle, batch, batch.engine.model
        self.metrics.runs(self.model)

    def new_ear(self, config: Config, source: SourceConfig) -> Ear:
        """An ear for a source, not open yet."""
        return Ear(
            source,
            builders.policy(config, source),
            builders.decision(config, self.bundle, source),
            lambda: builders.feed(config, source, self.calls.wake),
            10.0 ** (config.silence_dbfs / 20.0),
            self.random,
        )

    def add_box(self, name: str, config: Config) -> Box:
        """An output of the configuration, not started yet; raises ConfigError."""
        box = builders.output(config, name, self._sink_changed, self.calls.stop)
        self.boxes[name] = box
        self.metrics.add_sink(name)
        return box

    def new_server(self, config: Config) -> Server | None:
        """The server that the configuration wants, not started yet; raises ConfigError."""
        if config.http.address == "off":
            return None
        token, calls = builders.token(config), self.calls
        try:
            return Server(config.http, token, self.metrics.registry, calls.healthy, calls.hearing)
        except HttpError as error:
            raise ConfigError([str(error)]) from error

    def add_evidence(self, config: Config) -> None:
        """The event store of the configuration, if it has one, not begun; raises ConfigError."""
        self.evidence = builders.evidence(config)
        if self.evidence is not None and config.store is not None:
            to, queue = StoreOutput(self.evidence.store), config.store.queue
            noted = partial(self._sink_changed, "store")
            self.boxes["store"] = Outbox("store", to, queue, "both", noted)
            self.metrics.add_sink("store")

    def new_page(self, config: Config) -> Page | None:
        """The review page that the configuration wants, not started; raises ConfigError."""
        if config.web is None or config.web.address == "off" or self.evidence is None:
            return None
        return self.calls.page(config, self.evidence, self)

    def start(self) -> None:
        """Begin to answer, to deliver and to keep."""
        if self.server is not None:
            self.server.start()
        for name, box in self.boxes.items():
            if name != "store":
                box.start()
        self.start_evidence()
        if self.page is not None:
            self.page.start()

    def start_evidence(self) -> None:
        """Begin to keep, if there is anything to keep."""
        if self.evidence is not None:
            self.evidence.start(self._trouble)
            self.boxes["store"].start()

    def close_ear(self, ear: Ear) -> None:
        """Let go of a source; what is open in it ends."""
        self.tell(ear, ear.close())
        if self.evidence is not None and self.evidence.recorder is not None:
            self.evidence.recorder.lost(ear)
        ear.forget()

    def tell(self, ear: Ear, found: list[Detection]) -> None:
        """Give what was found to every output, and count it."""
        rate = self.batch.grid.rate
        for detection in found:
            late = ear.late_s(detection, rate)
            event = ear.event(detection, self.model, rate)
            record = event.record()
            self.incident, begun = incident.add_event(self.incident, record, time.monotonic())
            for told in (record, *([begun] if begun else [])):
                for name, box in self.boxes.items():
                    if name != "store":
                        box.offer(told)
            self._keep(ear, detection, event, record)
            if self.page is not None:
                self.page.told(record)
            if detection.phase == "onset":
                ear.counts.events += 1
                self.metrics.opened(event, late)
            else:
                ear.counts.rounds += detection.rounds
                self.metrics.closed(event)

    def look_after_incident(self, now: float, *, ending: bool = False) -> None:
        """Tell of an incident that is over, or of one that is open at the end."""
        was = self.incident
        if was is not None and (ending or incident.is_over(was, now, self.config.incident_gap_s)):
            self.incident = None
            for box in self.boxes.values():
                box.offer(was.record("final"))

    def _keep(self, ear: Ear, d: Detection, event: Event, record: dict[str, Any]) -> None:
        if self.evidence is None or self.incident is None:
            return
        rate, recorder = self.batch.grid.rate, self.evidence.recorder
        final = d.phase == "final"
        curve = ear.past.around(d, CURVE_S) if final and ear.past is not None else None
        self.boxes["store"].offer({**record, "curve": curve, "incident": self.incident.id})
        if recorder is not None and final:
            recorder.ended(event.id, d, rate, record)
        elif recorder is not None:
            recorder.opened(ear, event.id, d, rate)

    def _trouble(self, kind: str, words: str) -> None:
        self.metrics.errors.labels("store").inc()
        self.log.say(kind, words, "warning")

    def _sink_changed(self, name: str, fault: str | None) -> None:
        if fault is None:
            self.log.say("sink_well", "delivers again", source=name)
        else:
            self.metrics.errors.labels("sink").inc()
            self.log.say("sink_failing", fault, "warning", source=name)
