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
from streamdet.daemon.components import (
    DaemonCallbacks,
    DaemonComponents,
    ReviewPageFactory,
    no_page,
)
from streamdet.daemon.health import HealthStatus
from streamdet.daemon.log import DaemonLog
from streamdet.daemon.managed_source import ManagedSource
from streamdet.daemon.metrics_publisher import MetricsPublisher
from streamdet.daemon.supervision import SourceState
from streamdet.daemon.systemd import SystemdNotifier
from streamdet.model.bundle import Bundle

_LOOK_S, _PUBLISH_S, _STEP_S = 0.1, 0.25, 0.5
_GATHER_S, _GATHER_MOST_S = 0.001, 0.04
_PATIENCE_S = 3.0
_CLOCK_STEP_S = 0.5
_MOST_STUCK = 8


@dataclass
class RunSummary:
    """What a run has to tell at its end; ``failure`` and its ``reason`` where it gave up."""

    analysed_s: float = 0.0
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
    log: DaemonLog
    read_config: Callable[[], Config]
    fail_fast: bool = False
    duration_s: float | None = None
    page: ReviewPageFactory = no_page
    notifier: SystemdNotifier = field(default_factory=SystemdNotifier)

    def __post_init__(self) -> None:
        self.summary = RunSummary()
        self._wake = threading.Event()
        self._stop = self._reload = self._warm = self._ready = False
        now = time.monotonic()
        self._last_iteration = self._last_step = now
        self._published = 0.0
        self._clock = time.time() - now
        calls = DaemonCallbacks(self._wake.set, self.stop, self.healthy, self.ready, self.page)
        self.components = DaemonComponents(self.config, self.bundle, self.log, calls)
        self._publisher = MetricsPublisher(self.components.metrics)

    def run(self) -> RunSummary:
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
        parts = self.components
        # counts of earlier runs come first: a scrape must not see them at 0 once more
        self._publisher.publish_storage(parts.sources, parts.storage)
        parts.start()
        parts.batch.warm_up()
        self._warm = True
        if not self.fail_fast:  # else the first line is that it hears, or why it can't
            names = ", ".join(ear.name for ear in parts.sources)
            parts.log.emit("started", f"sources: {names}; {self._described}")

    def main_loop(self) -> None:
        """Turn until there is no more to be done."""
        while not self._stop:
            self.run_once()
            ears, limit = self.components.sources, self.duration_s
            if limit is not None and any(ear.counts.analysed_s >= limit for ear in ears):
                return
            if all(ear.condition.state is SourceState.ended for ear in ears):
                return
            self._wait()

    def run_once(self) -> None:
        """Look after every source, step what they gave, tell what was found."""
        parts, now = self.components, time.monotonic()
        self._last_iteration = now
        if self._reload:
            self._reload = False
            self._reload_config()
        local = datetime.now()
        for ear in parts.sources:
            self._supervise(ear, now, local)
        for ear in parts.sources:
            parts.publish_detections(ear, ear.feed_batch(parts.batch))
        self._step()
        for ear in parts.sources:
            parts.publish_detections(ear, ear.poll())
        parts.update_incident(now)
        if parts.page is not None:
            parts.page.publish_audio(parts, now)
        if now - self._published >= _PUBLISH_S:
            self._published = now
            self._publish(now)

    def shutdown(self) -> None:
        """Close the sources, then whatever events are open, then deliver what there is."""
        parts = self.components
        self.notifier.notify("STOPPING=1")
        for ear in parts.sources:
            parts.close_source(ear)
        parts.update_incident(time.monotonic(), ending=True)
        for ear in parts.sources:
            ear.join(_LOOK_S)
        if parts.page is not None:
            parts.page.close()
        self._publisher.publish(parts.sources, parts.outputs.values())
        until = time.monotonic() + _PATIENCE_S
        for name, box in parts.outputs.items():
            if left := box.close(max(0.2, until - time.monotonic())):
                self.summary.undelivered += left
                said = f"{name}: {left} events were not delivered"
                parts.log.emit("undelivered", said, "error")
        if parts.storage is not None:
            parts.storage.close(max(0.5, until - time.monotonic()))
        if parts.server is not None:
            parts.server.close()
        for ear in parts.sources:
            self.summary.analysed_s += ear.counts.analysed_s
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

    def healthy(self) -> HealthStatus:
        """Whether the main loop turns; for any thread."""
        return health.liveness(self._warm, time.monotonic() - self._last_iteration)

    def ready(self) -> HealthStatus:
        """Whether every source that it is to hear is heard; for any thread."""
        now = time.monotonic()
        return health.readiness(
            self._warm, now - self._last_iteration, list(self.components.sources), now
        )

    @property
    def _described(self) -> str:
        return f"model {self.components.model.name}; http {self.components.config.http.address}"

    def _wait(self) -> None:
        """Wait for something new, and with many sources a little more, for others of them."""
        self._wake.wait(_LOOK_S)
        self._wake.clear()
        gather = min(_GATHER_MOST_S, _GATHER_S * (len(self.components.sources) - 1))
        left = self._last_iteration + gather - time.monotonic()
        if left > 0 and not self._stop:
            time.sleep(left)

    def _step(self) -> None:
        began = time.perf_counter()
        while self.components.batch.step():
            ended = time.perf_counter()
            self.components.metrics.inference.observe(ended - began)
            began = ended
            self._last_step = time.monotonic()
            if self._last_step - self._last_iteration > _STEP_S:
                return  # far behind: what is left has its turn when the sources had theirs

    def _supervise(self, ear: ManagedSource, now: float, local: datetime) -> None:
        parts, before = self.components, ear.condition
        closed = ear.supervise(now, local) == "close"
        if closed:
            parts.close_source(ear)
        after = ear.condition
        if closed and after.fault:
            parts.metrics.errors.labels("source").inc()
            if self.fail_fast and not ear.counts.analysed_s:
                self._give_up(ear)
                return
        if after.state is not before.state:
            health.log_transition(parts.log, ear, before, after, now)
        deaf, patience = after.not_receiving_since, parts.config.give_up_s
        if patience and ear.config.required and deaf is not None and now - deaf > patience:
            self._give_up(ear)
        if ear.stuck_threads > _MOST_STUCK:
            self._give_up(ear)

    def _give_up(self, ear: ManagedSource) -> None:
        if self.summary.failure is None:
            self.summary.failure = f"{ear.name}: {ear.condition.fault}"
            self.summary.reason = ear.reason
        self.stop()

    def _publish(self, now: float) -> None:
        parts = self.components
        self._watch_clock(now)
        self._publisher.publish(parts.sources, parts.outputs.values())
        self._publisher.publish_storage(parts.sources, parts.storage)
        for ear in parts.sources:
            if lost := self._publisher.newly_lost_s(ear):
                said = f"{lost:.1f} s of audio were lost"
                parts.log.emit("audio_lost", said, "warning", source=ear.name, seconds=lost)
        words = health.status_line(parts.sources, now)
        if not self._ready and all(health.is_settled(ear) for ear in parts.sources):
            self._ready = True
            parts.log.emit("ready", f"every required source is heard; {self._described}")
            self.notifier.notify("READY=1", f"STATUS={words}")
        self.notifier.set_status(words)
        if health.is_analysing(parts.sources, now, self._last_step):
            if not self._ready:
                self.notifier.notify(f"EXTEND_TIMEOUT_USEC={round(2e6 * health.LATE_S)}")
            self.notifier.ping_watchdog(now)

    def _watch_clock(self, now: float) -> None:
        clock = time.time() - now
        step, self._clock = clock - self._clock, clock
        if abs(step) > _CLOCK_STEP_S:
            self.components.log.emit(
                "clock_step",
                f"the clock was set by {step:+.1f} s; streams that are open keep the time that "
                "they began with",
                "warning",
                seconds=round(step, 3),
            )

    def _reload_config(self) -> None:
        parts = self.components
        self.notifier.notify_reloading()
        try:
            reload.apply_config(parts, self.read_config())
            parts.metrics.reloads.labels("good").inc()
        except ConfigError as error:
            parts.metrics.reloads.labels("bad").inc()
            parts.metrics.errors.labels("config").inc()
            parts.log.emit("reload_failed", f"{error}; nothing is changed", "error")
        self.notifier.notify("READY=1" if self._ready else "STATUS=reloaded")
