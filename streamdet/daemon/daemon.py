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
from types import FrameType

from streamdet.audio.source import Reason
from streamdet.config.layers import ConfigError
from streamdet.config.schema import Config
from streamdet.daemon import health, reload
from streamdet.daemon.components import Calls, PageMaker, Parts, no_page
from streamdet.daemon.health import Answer
from streamdet.daemon.log import Log
from streamdet.daemon.managed_source import Ear
from streamdet.daemon.metrics_publisher import Publisher
from streamdet.daemon.supervision import State
from streamdet.daemon.systemd import Notifier
from streamdet.model.bundle import Bundle

_LOOK_S, _PUBLISH_S, _STEP_S = 0.1, 0.25, 0.5
_GATHER_S, _GATHER_MOST_S = 0.001, 0.04
_PATIENCE_S = 3.0
_CLOCK_STEP_S = 0.5
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
    much audio of one source; ``page`` makes the review page. Raises ConfigError where its parts
    can't be had.
    """

    config: Config
    bundle: Bundle
    log: Log
    reread: Callable[[], Config]
    hasty: bool = False
    duration_s: float | None = None
    page: PageMaker = no_page
    notifier: Notifier = field(default_factory=Notifier)

    def __post_init__(self) -> None:
        self.summary = Summary()
        self._news = threading.Event()
        self._stop = self._reload = self._warm = self._ready = False
        now = time.monotonic()
        self._turned = self._stepped = now
        self._published = 0.0
        self._clock = time.time() - now
        calls = Calls(self._news.set, self.stop, self.healthy, self.hearing, self.page)
        self.parts = Parts(self.config, self.bundle, self.log, calls)
        self._publisher = Publisher(self.parts.metrics)

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
        parts = self.parts
        # counts of earlier runs come first: a scrape must not see them at 0 once more
        self._publisher.keep_up(parts.ears, parts.evidence)
        parts.start()
        parts.batch.warm_up()
        self._warm = True
        if not self.hasty:  # else the first line is that it hears, or why it can't
            names = ", ".join(ear.name for ear in parts.ears)
            parts.log.say("started", f"sources: {names}; {self._described}")

    def main_loop(self) -> None:
        """Turn until there is no more to be done."""
        while not self._stop:
            self.turn()
            ears, limit = self.parts.ears, self.duration_s
            if limit is not None and any(ear.counts.analysed_s >= limit for ear in ears):
                return
            if all(ear.condition.state is State.ended for ear in ears):
                return
            self._rest()

    def turn(self) -> None:
        """Look after every source, step what they gave, tell what was found."""
        parts, now = self.parts, time.monotonic()
        self._turned = now
        if self._reload:
            self._reload = False
            self._read_anew()
        local = datetime.now()
        for ear in parts.ears:
            self._supervise(ear, now, local)
        for ear in parts.ears:
            parts.tell(ear, ear.take(parts.batch))
        self._step()
        for ear in parts.ears:
            parts.tell(ear, ear.poll())
        parts.look_after_incident(now)
        if parts.page is not None:
            parts.page.look(parts, now)
        if now - self._published >= _PUBLISH_S:
            self._published = now
            self._publish(now)

    def shutdown(self) -> None:
        """Close the sources, then whatever events are open, then deliver what there is."""
        parts = self.parts
        self.notifier.tell("STOPPING=1")
        for ear in parts.ears:
            parts.close_ear(ear)
        parts.look_after_incident(time.monotonic(), ending=True)
        for ear in parts.ears:
            ear.join(_LOOK_S)
        if parts.page is not None:
            parts.page.close()
        self._publisher.publish(parts.ears, parts.boxes.values())
        until = time.monotonic() + _PATIENCE_S
        for name, box in parts.boxes.items():
            if left := box.close(max(0.2, until - time.monotonic())):
                self.summary.undelivered += left
                said = f"{name}: {left} events were not delivered"
                parts.log.say("undelivered", said, "error")
        if parts.evidence is not None:
            parts.evidence.close(max(0.5, until - time.monotonic()))
        if parts.server is not None:
            parts.server.close()
        for ear in parts.ears:
            self.summary.heard_s += ear.counts.analysed_s
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
        now = time.monotonic()
        return health.ready(self._warm, now - self._turned, list(self.parts.ears), now)

    @property
    def _described(self) -> str:
        return f"model {self.parts.model.name}; http {self.parts.config.http.address}"

    def _rest(self) -> None:
        """Wait for something new, and with many sources a little more, for others of them."""
        self._news.wait(_LOOK_S)
        self._news.clear()
        gather = min(_GATHER_MOST_S, _GATHER_S * (len(self.parts.ears) - 1))
        left = self._turned + gather - time.monotonic()
        if left > 0 and not self._stop:
            time.sleep(left)

    def _step(self) -> None:
        began = time.perf_counter()
        while self.parts.batch.step():
            ended = time.perf_counter()
            self.parts.metrics.inference.observe(ended - began)
            began = ended
            self._stepped = time.monotonic()
            if self._stepped - self._turned > _STEP_S:
                return  # far behind: what is left has its turn when the sources had theirs

    def _supervise(self, ear: Ear, now: float, local: datetime) -> None:
        parts, before = self.parts, ear.condition
        closed = ear.supervise(now, local) == "close"
        if closed:
            parts.close_ear(ear)
        after = ear.condition
        if closed and after.fault:
            parts.metrics.errors.labels("source").inc()
            if self.hasty and not ear.counts.analysed_s:
                self._give_up(ear)
                return
        if after.state is not before.state:
            health.tell(parts.log, ear, before, after, now)
        deaf, patience = after.deaf_since, parts.config.give_up_s
        if patience and ear.source.required and deaf is not None and now - deaf > patience:
            self._give_up(ear)
        if ear.stuck > _MOST_STUCK:
            self._give_up(ear)

    def _give_up(self, ear: Ear) -> None:
        if self.summary.failure is None:
            self.summary.failure = f"{ear.name}: {ear.condition.fault}"
            self.summary.reason = ear.reason
        self.stop()

    def _publish(self, now: float) -> None:
        parts = self.parts
        self._watch_clock(now)
        self._publisher.publish(parts.ears, parts.boxes.values())
        self._publisher.keep_up(parts.ears, parts.evidence)
        for ear in parts.ears:
            if lost := self._publisher.just_lost(ear):
                said = f"{lost:.1f} s of audio were lost"
                parts.log.say("audio_lost", said, "warning", source=ear.name, seconds=lost)
        words = health.words(parts.ears, now)
        if not self._ready and all(health.settled(ear) for ear in parts.ears):
            self._ready = True
            parts.log.say("ready", f"every required source is heard; {self._described}")
            self.notifier.tell("READY=1", f"STATUS={words}")
        self.notifier.status(words)
        if health.analysing(parts.ears, now, self._stepped):
            if not self._ready:
                self.notifier.tell(f"EXTEND_TIMEOUT_USEC={round(2e6 * health.LATE_S)}")
            self.notifier.alive(now)

    def _watch_clock(self, now: float) -> None:
        clock = time.time() - now
        step, self._clock = clock - self._clock, clock
        if abs(step) > _CLOCK_STEP_S:
            self.parts.log.say(
                "clock_step",
                f"the clock was set by {step:+.1f} s; streams that are open keep the time that "
                "they began with",
                "warning",
                seconds=round(step, 3),
            )

    def _read_anew(self) -> None:
        parts = self.parts
        self.notifier.reloading()
        try:
            reload.apply(parts, self.reread())
            parts.metrics.reloads.labels("good").inc()
        except ConfigError as error:
            parts.metrics.reloads.labels("bad").inc()
            parts.metrics.errors.labels("config").inc()
            parts.log.say("reload_failed", f"{error}; nothing is changed", "error")
        self.notifier.tell("READY=1" if self._ready else "STATUS=reloaded")
