"""Whether the daemon is alive and hears, in words: for /healthz, /readyz, systemd and the log."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from streamdet.daemon.log import DaemonLog
from streamdet.daemon.managed_source import ManagedSource
from streamdet.daemon.supervision import SourceCondition, SourceState

LATE_S = 10.0
"""A loop that has not turned for so long hangs."""


@dataclass(frozen=True)
class HealthStatus:
    """Whether all is well, and why in plain words."""

    ok: bool
    text: str


def liveness(warm: bool, late_s: float) -> HealthStatus:
    """Whether the main loop turns."""
    if not warm:
        return HealthStatus(True, "alive: the model is getting warm")
    if late_s > LATE_S:
        return HealthStatus(False, f"hangs: the main loop has not turned for {late_s:.0f} s")
    return HealthStatus(True, "alive")


def readiness(warm: bool, late_s: float, ears: Sequence[ManagedSource], now: float) -> HealthStatus:
    """Whether every required source is heard; a line for each that is to be told of."""
    if not warm:
        return HealthStatus(False, "not hearing: the model is getting warm")
    if late_s > LATE_S:
        return HealthStatus(False, f"not hearing: the main loop has not turned for {late_s:.0f} s")
    deaf = [ear for ear in ears if ear.config.required and not _is_healthy(ear)]
    lines = [f"{ear.name}: {describe_condition(ear.condition, now)}" for ear in ears]
    if not ears:
        lines = ["there is no source"]
    return HealthStatus(not deaf, "\n".join(["not hearing" if deaf else "hearing", *lines]))


def status_line(ears: Sequence[ManagedSource], now: float) -> str:
    """STATUS= in one line: how many are heard, and what is wrong with those that are not."""
    heard = sum(ear.condition.receiving for ear in ears)
    wrong = [
        f"{ear.name}: {describe_condition(ear.condition, now, moving=False)}"
        for ear in ears
        if ear.condition.state is not SourceState.receiving
    ]
    return "; ".join([f"{heard} of {len(ears)} sources heard", *wrong[:5]])


def is_settled(ear: ManagedSource) -> bool:
    """Nothing has to be waited for before saying READY=1."""
    return not ear.config.required or _is_healthy(ear)


def is_analysing(ears: Sequence[ManagedSource], now: float, stepped: float) -> bool:
    """Samples are analysed, or why there are none is known and more tries are announced."""
    heard = [ear for ear in ears if ear.condition.receiving]
    return not heard or now - stepped <= max(ear.policy.stall_s for ear in heard) + LATE_S


def describe_condition(condition: SourceCondition, now: float, *, moving: bool = True) -> str:
    """A condition in words; ``moving``: with seconds that count."""
    state, since = condition.state, now - condition.since
    match state:
        case SourceState.receiving:
            return "hearing"
        case SourceState.silent:
            return f"silent for {since:.0f} s" if moving else "silent"
        case SourceState.opening:
            return "opening"
        case SourceState.off:
            return "off by its schedule"
        case SourceState.ended:
            return "ended"
        case SourceState.absent | SourceState.dead:
            if not condition.fault:
                return "not opened yet"
            left = max(0.0, condition.retry_at - now)
            after = f"next try in {left:.0f} s" if moving else "trying again"
            return f"{state}: {condition.fault}; {after}"


def log_transition(
    log: DaemonLog, ear: ManagedSource, before: SourceCondition, after: SourceCondition, now: float
) -> None:
    """A line for a step of a source's life."""
    name = ear.name
    match after.state:
        case SourceState.receiving if before.state is SourceState.silent:
            log.emit("sound", "no longer silent", source=name)
        case SourceState.receiving:
            log.emit("hearing", f"hearing, {ear.format}", source=name)
        case SourceState.silent:
            log.emit("silence", "gives nothing but silence", "warning", source=name)
        case SourceState.absent | SourceState.dead:
            wait = max(0.0, after.retry_at - now)
            said = f"{after.state}: {after.fault}; next try in {wait:.1f} s"
            log.emit("source_failed", said, "warning", source=name, tries=after.tries)
        case SourceState.off:
            log.emit("off", "off by its schedule", source=name)
        case SourceState.ended:
            log.emit("ended", "ended", source=name)
        case SourceState.opening:
            pass


def _is_healthy(ear: ManagedSource) -> bool:
    return ear.condition.receiving or ear.condition.state in (SourceState.off, SourceState.ended)
