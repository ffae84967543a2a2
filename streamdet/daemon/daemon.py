"""The daemon behind `streamdet listen`: all configured sources, analysed as one batch, to all
outputs, until it is stopped.

The main loop runs in one thread: it supervises the sources, reads their samples, steps the batch
and publishes events. Sources and outputs have threads of their own, and it never waits for them.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

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
from streamdet.daemon.signals import handle_signals
from streamdet.daemon.status_reporter import StatusReporter
from streamdet.daemon.supervision import SourceState
from streamdet.daemon.systemd import SystemdNotifier
from streamdet.model.bundle import Bundle

_POLL_S, _MAX_STEP_S = 0.1, 0.5
_GATHER_S, _MAX_GATHER_S = 0.001, 0.04
_SHUTDOWN_S = 3.0
_MAX_STUCK_THREADS = 8


@dataclass
class RunSummary:
    """The totals of a run. ``failure`` and its ``reason`` are set if the daemon gave up."""

    analysed_s: float = 0.0
    dropped_s: float = 0.0
    events: int = 0
    rounds: int = 0
    undelivered: int = 0
    failure: str | None = None
    reason: Reason = "lost"


@dataclass
class Daemon:
    """Listens to all sources of a configuration. Raises ConfigError if a part cannot be built.

    ``read_config`` returns the configuration again, for a reload. ``fail_fast``: give up if a
    source cannot be opened at first, for a user who waits at a terminal. ``duration_s``: stop
    after this much audio of one source. ``page`` creates the review page.

    `run` may be called in any thread. In the main thread SIGINT and SIGTERM stop the daemon and
    SIGHUP reloads its configuration; in another thread use `stop` and `reload`.
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
        self._stop = self._reload = self._warm = False
        self._last_iteration = self._last_step = time.monotonic()
        callbacks = DaemonCallbacks(self._wake.set, self.stop, self.healthy, self.ready, self.page)
        self.components = DaemonComponents(self.config, self.bundle, self.log, callbacks)
        self._reporter = StatusReporter(self.components, self.notifier)

    def run(self) -> RunSummary:
        """Run until `stop` is called, all sources have ended, or ``duration_s`` is over."""
        with handle_signals(self.stop, self.reload):
            try:
                self.startup()
                self.main_loop()
            finally:
                self.shutdown()
        return self.summary

    def startup(self) -> None:
        """Start the servers and outputs, then compile the model; sources are opened after that."""
        components = self.components
        # restores the counts of earlier runs before the first scrape, which must not see 0
        self._reporter.publish_metrics()
        components.start()
        components.batch.warm_up()
        self._warm = True
        if not self.fail_fast:
            names = ", ".join(source.name for source in components.sources)
            components.log.emit("started", f"started; sources: {names}; {components.description}")

    def main_loop(self) -> None:
        """Run iterations until there is a reason to stop."""
        while not self._stop:
            self.run_once()
            sources, limit_s = self.components.sources, self.duration_s
            if limit_s is not None and any(s.counts.analysed_s >= limit_s for s in sources):
                return
            if all(source.condition.state is SourceState.ended for source in sources):
                return
            self._wait()

    def run_once(self) -> None:
        """One iteration: supervise the sources, analyse their samples, publish events."""
        components, now = self.components, time.monotonic()
        self._last_iteration = now
        if self._reload:
            self._reload = False
            self._reload_config()
        local = datetime.now()
        for source in components.sources:
            self._supervise(source, now, local)
        for source in components.sources:
            detections = source.feed_batch(components.batch, components.scorer)
            components.publish_detections(source, detections)
        self._step_batch()
        for source in components.sources:
            components.publish_detections(source, source.poll())
        components.update_incident(now)
        if components.page is not None:
            components.page.publish_audio(components, now)
        self._reporter.report(now, self._last_step)

    def shutdown(self) -> None:
        """Close the sources and their open events, then deliver what the outputs have queued."""
        components = self.components
        self.notifier.notify("STOPPING=1")
        for source in components.sources:
            components.close_source(source)
        components.update_incident(time.monotonic(), ending=True)
        components.backgrounds.close()
        for source in components.sources:
            source.join(_POLL_S)
        if components.page is not None:
            components.page.close()
        self._reporter.publish_metrics()
        deadline = time.monotonic() + _SHUTDOWN_S
        for output in components.outputs.values():
            components.close_output(output, max(0.2, deadline - time.monotonic()))
        self._reporter.publish_metrics()
        self.summary.undelivered = components.undelivered
        if components.storage is not None:
            components.storage.close(max(0.5, deadline - time.monotonic()))
        if components.server is not None:
            components.server.close()
        for counts in (*components.closed_counts, *(s.counts for s in components.sources)):
            self.summary.analysed_s += counts.analysed_s
            self.summary.dropped_s += counts.dropped_s + counts.lost_s
            self.summary.events += counts.events
            self.summary.rounds += counts.rounds

    def stop(self) -> None:
        """Stop the main loop soon. Safe in any thread and in a signal handler.

        It only sets a flag: a signal handler must not acquire a lock that the code it has
        interrupted may hold.
        """
        self._stop = True

    def reload(self) -> None:
        """Reload the configuration soon. As safe as `stop`."""
        self._reload = True

    def healthy(self) -> HealthStatus:
        """Whether the main loop runs. Safe in any thread."""
        return health.liveness(self._warm, time.monotonic() - self._last_iteration)

    def ready(self) -> HealthStatus:
        """Whether every required source delivers samples. Safe in any thread."""
        now, sources = time.monotonic(), list(self.components.sources)
        return health.readiness(self._warm, now - self._last_iteration, sources, now)

    def _wait(self) -> None:
        """Wait for new samples, and with many sources a little longer, to fill the batch."""
        self._wake.wait(_POLL_S)
        self._wake.clear()
        gather_s = min(_MAX_GATHER_S, _GATHER_S * (len(self.components.sources) - 1))
        remaining_s = self._last_iteration + gather_s - time.monotonic()
        if remaining_s > 0 and not self._stop:
            time.sleep(remaining_s)

    def _step_batch(self) -> None:
        started = time.perf_counter()
        while self.components.batch.step():
            ended = time.perf_counter()
            self.components.metrics.inference.observe(ended - started)
            started = ended
            self._last_step = time.monotonic()
            if self._last_step - self._last_iteration > _MAX_STEP_S:
                return  # far behind: supervise and read the sources before the next steps

    def _supervise(self, source: ManagedSource, now: float, local: datetime) -> None:
        components, before = self.components, source.condition
        closed = source.supervise(now, local) == "close"
        if closed:
            components.close_source(source)
        after = source.condition
        if closed and after.fault:
            components.metrics.errors.labels("source").inc()
            if self.fail_fast and not source.counts.analysed_s:
                self._give_up(source)
                return
        if after.state is not before.state:
            health.log_transition(components.log, source, before, after, now)
        since, limit_s = after.not_receiving_since, components.config.give_up_s
        if limit_s and source.config.required and since is not None and now - since > limit_s:
            self._give_up(source)
        if source.stuck_threads > _MAX_STUCK_THREADS:
            self._give_up(source)

    def _give_up(self, source: ManagedSource) -> None:
        if self.summary.failure is None:
            fault = source.condition.fault or "failed"
            named = fault.startswith(f"{source.name}:")
            self.summary.failure = fault if named else f"{source.name}: {fault}"
            self.summary.reason = source.reason
        self.stop()

    def _reload_config(self) -> None:
        components = self.components
        self.notifier.notify_reloading()
        try:
            reload.apply_config(components, self.read_config())
            components.metrics.reloads.labels("good").inc()
        except ConfigError as error:
            components.metrics.reloads.labels("bad").inc()
            components.metrics.errors.labels("config").inc()
            message = f"reload failed, the old configuration stays: {error}"
            components.log.emit("reload_failed", message, "error")
        self.notifier.notify("READY=1" if self._reporter.ready else "STATUS=reloaded")
