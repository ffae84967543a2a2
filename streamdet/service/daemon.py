"""`listen`: every source of the configuration through one batch to every output, until it is told
to stop.

One thread does all of it: it looks after the sources, takes what they have, steps the batch, tells
what was found. Sources and outputs have threads of their own, which it never waits for.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from random import Random
from types import FrameType

from streamdet.audio.source import Reason
from streamdet.config.layers import ConfigError
from streamdet.config.schema import Config, Source
from streamdet.detect.batch import Batch
from streamdet.detect.event import Detection
from streamdet.model.bundle import Bundle
from streamdet.service import build, health, reload
from streamdet.service.build import Box
from streamdet.service.ear import Ear
from streamdet.service.health import Answer
from streamdet.service.http import HttpError, Server
from streamdet.service.log import Log
from streamdet.service.metrics import Metrics
from streamdet.service.notify import Notifier
from streamdet.service.publish import Publisher
from streamdet.service.supervision import State
from streamdet.sinks.outbox import Record

_LOOK_S, _PUBLISH_S, _STEP_S = 0.1, 0.25, 0.5
_GATHER_S, _GATHER_MOST_S = 0.001, 0.04
_PATIENCE_S = 3.0
_MOST_STUCK = 8


@dataclass
class Summary:
    """What a run has to tell at its end; ``failure`` and its ``reason`` where it gave up."""

    heard_s: float = 0.0
    dropped_s: float = 0.0
    events: int = 0
    rounds: int = 0
    undelivered: int = 0
    failure: str | None = None
    reason: Reason = "lost"


@dataclass
class Daemon:
    """Startup, main loop, shutdown. A signal only sets a flag that the loop reads.

    ``reread`` gives the configuration anew on SIGHUP; ``hasty``: a source that can't be opened at
    first ends it, as whoever started it is still there to be told; ``duration_s``: stop after so
    much audio of one source.
    """

    config: Config
    bundle: Bundle
    log: Log
    reread: Callable[[], Config]
    hasty: bool = False
    duration_s: float | None = None
    notifier: Notifier = field(default_factory=Notifier)
    random: Random = field(default_factory=Random)

    def __post_init__(self) -> None:
        self.summary = Summary()
        self.ears: list[Ear] = []
        self.boxes: dict[str, Box] = {}
        self.server: Server | None = None
        self._news = threading.Event()
        self._stop = self._reload = self._warm = self._ready = False
        now = time.monotonic()
        self._turned = self._stepped = now
        self._published = 0.0
        self._clock = time.time() - now
        self.metrics = Metrics(build.name_of(self.bundle), [s.name for s in self.config.sources])
        self.take_model(self.bundle, Batch(build.engine(self.config, self.bundle)))
        self._publisher = Publisher(self.metrics)
        for source in self.config.sources:
            self.ears.append(self.new_ear(self.config, source))
        for name in build.OUTPUTS:
            if build.output_key(self.config, name) is not None:
                self.add_box(name, self.config)
        self.server = self.serve(self.config)

    def run(self) -> Summary:
        """Listen until a signal, the end of every source, or the set duration."""
        handlers = {signal.SIGINT: self.stop, signal.SIGTERM: self.stop, signal.SIGHUP: self.reload}

        def on_signal(number: int, _frame: FrameType | None) -> None:
            handlers[signal.Signals(number)]()

        before = {number: signal.signal(number, on_signal) for number in handlers}
        try:
            self.startup()
            self.main_loop()
        finally:
            self.shutdown()
            for number, handler in before.items():
                signal.signal(number, handler)
        return self.summary

    def startup(self) -> None:
        """Answer and deliver first, then make the model warm: no audio waits for the compiler."""
        if self.server is not None:
            self.server.start()
        for box in self.boxes.values():
            box.start()
        self.batch.engine.warm_up()
        self._warm = True
        names = ", ".join(ear.name for ear in self.ears)
        where = self.config.http.address
        self.log.say("started", f"model {self.model.name}; sources: {names}; http {where}")

    def main_loop(self) -> None:
        """Turn until there is no more to be done."""
        while not self._stop:
            self.turn()
            limit = self.duration_s
            if limit is not None and any(e.counts.heard_s >= limit for e in self.ears):
                return
            if self.ears and all(e.condition.state is State.ended for e in self.ears):
                return
            self._rest()

    def turn(self) -> None:
        """Look after every source, step what they gave, tell what was found."""
        now = time.monotonic()
        self._turned = now
        if self._reload:
            self._reload = False
            self._read_anew()
        local = datetime.now()
        for ear in self.ears:
            self._supervise(ear, now, local)
        for ear in self.ears:
            self.tell(ear, ear.take(self.batch))
        self._step()
        for ear in self.ears:
            self.tell(ear, ear.poll())
        if now - self._published >= _PUBLISH_S:
            self._published = now
            self._publish(now)

    def shutdown(self) -> None:
        """Close the sources, then whatever events are open, then deliver what there is."""
        self.notifier.tell("STOPPING=1")
        for ear in self.ears:
            self.close_ear(ear)
        for ear in self.ears:
            ear.join(_LOOK_S)
        self._publisher.publish(self.ears, self.boxes.values())
        with_patience = time.monotonic() + _PATIENCE_S
        for name, box in self.boxes.items():
            left = box.close(max(0.2, with_patience - time.monotonic()))
            if left:
                self.summary.undelivered += left
                self.log.say("undelivered", f"{name}: {left} events were not delivered", "error")
        if self.server is not None:
            self.server.close()
        for ear in self.ears:
            self.summary.heard_s += ear.counts.heard_s
            self.summary.dropped_s += ear.counts.dropped_s + ear.counts.lost_s
            self.summary.events += ear.counts.events
            self.summary.rounds += ear.counts.rounds

    def stop(self) -> None:
        """End the main loop soon; safe from any thread and from a signal handler, so it wakes
        nobody: a handler must not ask for a lock that the code it interrupts may hold."""
        self._stop = True

    def reload(self) -> None:
        """Read the configuration anew soon; as safe."""
        self._reload = True

    def healthy(self) -> Answer:
        """Whether the main loop turns; for any thread."""
        return health.alive(self._warm, time.monotonic() - self._turned)

    def hearing(self) -> Answer:
        """Whether every source that it is to hear is heard; for any thread."""
        late = time.monotonic() - self._turned
        return health.ready(self._warm, late, list(self.ears), time.monotonic())

    def _rest(self) -> None:
        """Wait for something new, and with many sources a little more, for others of them."""
        self._news.wait(_LOOK_S)
        self._news.clear()
        gather = min(_GATHER_MOST_S, _GATHER_S * (len(self.ears) - 1))
        left = self._turned + gather - time.monotonic()
        if left > 0 and not self._stop:
            time.sleep(left)

    def _step(self) -> None:
        began = time.perf_counter()
        while self.batch.step():
            ended = time.perf_counter()
            self.metrics.inference.observe(ended - began)
            began = ended
            self._stepped = time.monotonic()
            if self._stepped - self._turned > _STEP_S:
                return  # far behind: what is left has its turn when the sources had theirs

    def _supervise(self, ear: Ear, now: float, local: datetime) -> None:
        before = ear.condition
        if ear.supervise(now, local) == "close":
            self.close_ear(ear)
        after = ear.condition
        if after.fault and after.tries > before.tries:
            self.metrics.errors.labels("source").inc()
            if self.hasty and not ear.counts.heard_s:
                self._give_up(ear)
                return
        if after.state is not before.state:
            health.tell(self.log, ear, before, after, now)
        deaf = after.deaf_since
        patience = self.config.give_up_s
        if patience and ear.source.required and deaf is not None and now - deaf > patience:
            self._give_up(ear)
        if ear.stuck > _MOST_STUCK:
            self._give_up(ear)

    def _give_up(self, ear: Ear) -> None:
        if self.summary.failure is None:
            self.summary.failure = f"{ear.name}: {ear.condition.fault}"
            self.summary.reason = ear.reason
        self.stop()

    def close_ear(self, ear: Ear) -> None:
        """Let go of a source; what is open in it ends."""
        self.tell(ear, ear.close())
        ear.forget()

    def tell(self, ear: Ear, found: list[Detection]) -> None:
        """Give what was found to every output, and count it."""
        for detection in found:
            rate = self.batch.grid.rate
            late = ear.late_s(detection, rate)
            event = ear.event(detection, self.model, rate)
            self._offer(event.record())
            if detection.phase == "onset":
                ear.counts.events += 1
                self.metrics.opened(event, late)
            else:
                ear.counts.rounds += detection.rounds
                self.metrics.closed(event)

    def _offer(self, record: Record) -> None:
        for box in self.boxes.values():
            box.offer(record)

    def _publish(self, now: float) -> None:
        self._watch_clock(now)
        self._publisher.publish(self.ears, self.boxes.values())
        for ear in self.ears:
            if lost := self._publisher.just_lost(ear):
                self.log.say(
                    "audio_lost", f"{lost:.1f} s of audio were lost", "warning",
                    source=ear.name, seconds=round(lost, 3),
                )  # fmt: skip
        words = health.words(self.ears, now)
        if not self._ready and all(health.settled(ear) for ear in self.ears):
            self._ready = True
            self.log.say("ready", "every required source is heard")
            self.notifier.tell("READY=1", f"STATUS={words}")
        self.notifier.status(words)
        if health.analysing(self.ears, now, self._stepped):
            if not self._ready:
                self.notifier.tell(f"EXTEND_TIMEOUT_USEC={round(2e6 * health.LATE_S)}")
            self.notifier.alive(now)

    def _watch_clock(self, now: float) -> None:
        clock = time.time() - now
        if abs(clock - self._clock) > 0.5:
            self.log.say(
                "clock_step",
                f"the clock was set by {clock - self._clock:+.1f} s; streams that are open keep "
                "the time that they began with",
                "warning",
                seconds=round(clock - self._clock, 3),
            )
        self._clock = clock

    def _read_anew(self) -> None:
        self.notifier.reloading()
        try:
            reload.apply(self, self.reread())
            self.metrics.reloads.labels("good").inc()
        except ConfigError as error:
            self.metrics.reloads.labels("bad").inc()
            self.metrics.errors.labels("config").inc()
            self.log.say("reload_failed", f"{error}; nothing is changed", "error")
        self.notifier.tell("READY=1" if self._ready else "STATUS=reloaded")

    def take_model(self, bundle: Bundle, batch: Batch) -> None:
        """Hear by this bundle from now on."""
        self.bundle, self.batch, self.model = bundle, batch, build.name_of(bundle)
        self.metrics.runs(self.model)

    def new_ear(self, config: Config, source: Source) -> Ear:
        """An ear for a source, not open yet."""
        return Ear(
            source,
            build.policy(config, source),
            build.decision(config, self.bundle, source),
            lambda: build.feed(config, source, self._news.set),
            10.0 ** (config.silence_dbfs / 20.0),
            self.random,
        )

    def add_box(self, name: str, config: Config) -> Box:
        """An output of the configuration, not started yet; raises ConfigError."""
        box = build.output(config, name, self._sink_changed, self.stop)
        self.boxes[name] = box
        self.metrics.add_sink(name)
        return box

    def _sink_changed(self, name: str, fault: str | None) -> None:
        if fault is None:
            self.log.say("sink_well", "delivers again", source=name)
        else:
            self.metrics.errors.labels("sink").inc()
            self.log.say("sink_failing", fault, "warning", source=name)

    def serve(self, config: Config) -> Server | None:
        """The server that the configuration wants, not started yet; raises ConfigError."""
        if config.http.address == "off":
            return None
        token = build.token(config)
        try:
            return Server(config.http, token, self.metrics.registry, self.healthy, self.hearing)
        except HttpError as error:
            raise ConfigError([str(error)]) from error
