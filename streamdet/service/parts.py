"""What a daemon is made of at the moment: sources, one batch, outputs, a server; how each is made,
and how an event goes through them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from streamdet.config.layers import ConfigError
from streamdet.config.schema import Config, Source
from streamdet.detect.batch import Batch
from streamdet.detect.event import Detection
from streamdet.model.bundle import Bundle
from streamdet.service import build
from streamdet.service.build import Box
from streamdet.service.ear import Ear
from streamdet.service.health import Answer
from streamdet.service.http import HttpError, Server
from streamdet.service.log import Log
from streamdet.service.metrics import Metrics


@dataclass(frozen=True)
class Calls:
    """What the parts may ask of the daemon, from any thread: to ``wake``, to ``stop``, and whether
    it is ``healthy`` and ``hearing``."""

    wake: Callable[[], None]
    stop: Callable[[], None]
    healthy: Callable[[], Answer]
    hearing: Callable[[], Answer]


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
        batch = Batch(build.engine(config, self.bundle))
        self.metrics = Metrics(batch.engine.model, [s.name for s in config.sources])
        self.take_model(self.bundle, batch)
        self.ears = [self.new_ear(config, source) for source in config.sources]
        self.boxes: dict[str, Box] = {}
        for name in build.OUTPUTS:
            if build.output_key(config, name) is not None:
                self.add_box(name, config)
        self.server = self.new_server(config)

    def take_model(self, bundle: Bundle, batch: Batch) -> None:
        """Hear by this bundle from now on."""
        self.bundle, self.batch, self.model = bundle, batch, batch.engine.model
        self.metrics.runs(self.model)

    def new_ear(self, config: Config, source: Source) -> Ear:
        """An ear for a source, not open yet."""
        return Ear(
            source,
            build.policy(config, source),
            build.decision(config, self.bundle, source),
            lambda: build.feed(config, source, self.calls.wake),
            10.0 ** (config.silence_dbfs / 20.0),
            self.random,
        )

    def add_box(self, name: str, config: Config) -> Box:
        """An output of the configuration, not started yet; raises ConfigError."""
        box = build.output(config, name, self._sink_changed, self.calls.stop)
        self.boxes[name] = box
        self.metrics.add_sink(name)
        return box

    def new_server(self, config: Config) -> Server | None:
        """The server that the configuration wants, not started yet; raises ConfigError."""
        if config.http.address == "off":
            return None
        token, calls = build.token(config), self.calls
        try:
            return Server(config.http, token, self.metrics.registry, calls.healthy, calls.hearing)
        except HttpError as error:
            raise ConfigError([str(error)]) from error

    def close_ear(self, ear: Ear) -> None:
        """Let go of a source; what is open in it ends."""
        self.tell(ear, ear.close())
        ear.forget()

    def tell(self, ear: Ear, found: list[Detection]) -> None:
        """Give what was found to every output, and count it."""
        rate = self.batch.grid.rate
        for detection in found:
            late = ear.late_s(detection, rate)
            event = ear.event(detection, self.model, rate)
            record = event.record()
            for box in self.boxes.values():
                box.offer(record)
            if detection.phase == "onset":
                ear.counts.events += 1
                self.metrics.opened(event, late)
            else:
                ear.counts.rounds += detection.rounds
                self.metrics.closed(event)

    def _sink_changed(self, name: str, fault: str | None) -> None:
        if fault is None:
            self.log.say("sink_well", "delivers again", source=name)
        else:
            self.metrics.errors.labels("sink").inc()
            self.log.say("sink_failing", fault, "warning", source=name)
