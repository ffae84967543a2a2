"""Liveness, readiness and the state of each source as text, for /healthz, /readyz, systemd and the
log."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from streamdet.daemon.log import DaemonLog
from streamdet.daemon.managed_source import ManagedSource
from streamdet.daemon.supervision import SourceCondition, SourceState

LATE_S = 10.0
"""After this long without an iteration, the main loop counts as stuck."""
_MAX_FAULTS = 5


@dataclass(frozen=True)
class HealthStatus:
    """The result of a health check, and the text that explains it."""

    ok: bool
    text: str


def liveness(warm: bool, late_s: float) -> HealthStatus:
    """Whether the main loop runs. ``late_s``: seconds since its last iteration."""
    if not warm:
        return HealthStatus(True, "alive: loading the model")
    if late_s > LATE_S:
        return HealthStatus(False, f"stuck: the main loop has not run for {late_s:.0f} s")
    return HealthStatus(True, "alive")


def readiness(
    warm: bool, late_s: float, sources: Sequence[ManagedSource], now: float
) -> HealthStatus:
    """Whether every required source delivers samples, is off or has ended; a line per source."""
    if not warm:
        return HealthStatus(False, "not ready: loading the model")
    if late_s > LATE_S:
        return HealthStatus(False, f"not ready: the main loop has not run for {late_s:.0f} s")
    ready = all(is_settled(source) for source in sources)
    lines = [f"{source.name}: {describe_condition(source.condition, now)}" for source in sources]
    if not sources:
        lines = ["no sources"]
    return HealthStatus(ready, "\n".join(["ready" if ready else "not ready", *lines]))


def status_line(sources: Sequence[ManagedSource], now: float) -> str:
    """The text of systemd's STATUS=: how many sources deliver audio, and what the others do."""
    others = [
        f"{source.name}: {describe_condition(source.condition, now, with_times=False)}"
        for source in sources
        if source.condition.state is not SourceState.receiving
    ]
    count = len(sources) - len(others)
    return "; ".join([f"{count} of {len(sources)} sources receiving audio", *others[:_MAX_FAULTS]])


def is_settled(source: ManagedSource) -> bool:
    """Whether readiness need not wait for this source."""
    state = source.condition.state
    up = source.condition.receiving or state in (SourceState.off, SourceState.ended)
    return up or not source.config.required


def is_analysing(sources: Sequence[ManagedSource], now: float, last_step: float) -> bool:
    """Whether the watchdog may be pinged: samples are analysed, or no source delivers any."""
    receiving = [source for source in sources if source.condition.receiving]
    if not receiving:
        return True
    return now - last_step <= max(source.policy.stall_s for source in receiving) + LATE_S


def describe_condition(condition: SourceCondition, now: float, *, with_times: bool = True) -> str:
    """A condition as text. ``with_times`` adds seconds that change from call to call."""
    state = condition.state
    match state:
        case SourceState.silent if with_times:
            return f"{state.label} for {now - condition.since:.0f} s"
        case SourceState.absent | SourceState.dead:
            if not condition.fault:
                return "not opened yet"
            wait_s = max(0.0, condition.retry_at - now)
            retry = f"next try in {wait_s:.0f} s" if with_times else "retrying"
            return f"{state.label}: {condition.fault}; {retry}"
        case _:
            return state.label


def log_transition(
    log: DaemonLog,
    source: ManagedSource,
    before: SourceCondition,
    after: SourceCondition,
    now: float,
) -> None:
    """Log that a source has changed its state."""
    name, label = source.name, after.state.label
    match after.state:
        case SourceState.receiving if before.state is SourceState.silent:
            log.emit("silence_ended", f"{label} again", source=name)
        case SourceState.receiving:
            log.emit("receiving", f"{label}, {source.format}", source=name)
        case SourceState.silent:
            log.emit("silence", f"{label}: all samples are silent", "warning", source=name)
        case SourceState.absent | SourceState.dead:
            wait_s = max(0.0, after.retry_at - now)
            message = f"{label}: {after.fault}; next try in {wait_s:.1f} s"
            log.emit("source_failed", message, "warning", source=name, tries=after.tries)
        case SourceState.off | SourceState.ended:
            log.emit(after.state.value, label, source=name)
        case SourceState.opening:
            pass
