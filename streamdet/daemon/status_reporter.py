"""Reports the state of a running daemon: metrics, systemd notifications, log."""

from __future__ import annotations

import time

from streamdet.daemon import health
from streamdet.daemon.backgrounds import SAVE_S
from streamdet.daemon.components import DaemonComponents
from streamdet.daemon.metrics_publisher import MetricsPublisher
from streamdet.daemon.systemd import SystemdNotifier

_INTERVAL_S = 0.25
_CLOCK_STEP_S = 0.5


class StatusReporter:
    """Belongs to the daemon's thread. ``ready``: all required sources have delivered samples."""

    def __init__(self, components: DaemonComponents, notifier: SystemdNotifier) -> None:
        self._components, self._notifier = components, notifier
        self._publisher = MetricsPublisher(components.metrics)
        self._last_report, self._last_save = 0.0, time.monotonic()
        self._wall_offset = time.time() - time.monotonic()
        self.ready = False

    def publish_metrics(self) -> None:
        """Update the metrics now."""
        components = self._components
        closed, components.closed_outputs = components.closed_outputs, []
        self._publisher.publish(components.sources, [*closed, *components.outputs.values()])
        for output in closed:
            if output.name not in components.outputs:
                components.metrics.sink_queue.labels(output.name).set(0)
        self._publisher.publish_storage(components.sources, components.storage)

    def report(self, now: float, last_step: float) -> None:
        """Report four times a second. ``last_step``: when the batch was last stepped."""
        if now - self._last_report < _INTERVAL_S:
            return
        self._last_report = now
        self._check_clock(now)
        self._components.apply_verdicts()
        if now - self._last_save >= SAVE_S:
            self._last_save = now
            self._components.save_backgrounds(self._components.sources)
        self.publish_metrics()
        self._report_losses()
        self._notify(now, last_step)

    def _report_losses(self) -> None:
        for source in self._components.sources:
            if lost_s := self._publisher.newly_lost_s(source):
                message = f"{lost_s:.1f} s of audio were lost"
                self._components.log.emit(
                    "audio_lost", message, "warning", source=source.name, seconds=lost_s
                )

    def _notify(self, now: float, last_step: float) -> None:
        components, sources = self._components, self._components.sources
        status = health.status_line(sources, now)
        if not self.ready and all(health.is_settled(source) for source in sources):
            self.ready = True
            message = "ready: all required sources are receiving audio"
            components.log.emit("ready", f"{message}; {components.description}")
            self._notifier.notify("READY=1", f"STATUS={status}")
        self._notifier.set_status(status)
        if health.is_analysing(sources, now, last_step):
            if not self.ready:
                self._notifier.notify(f"EXTEND_TIMEOUT_USEC={round(2e6 * health.LATE_S)}")
            self._notifier.ping_watchdog(now)

    def _check_clock(self, now: float) -> None:
        offset = time.time() - now
        step_s, self._wall_offset = offset - self._wall_offset, offset
        if abs(step_s) > _CLOCK_STEP_S:
            self._components.log.emit(
                "clock_step",
                f"the system clock was set by {step_s:+.1f} s; open streams keep their time base",
                "warning",
                seconds=round(step_s, 3),
            )
