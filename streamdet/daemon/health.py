"""Whether the daemon is alive and hears, in words: for /healthz, /readyz, systemd and the log."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from streamdet.daemon.log import Log
from streamdet.daemon.managed_source import Ear
from streamdet.daemon.supervision import Condition, State

LATE_S = 10.0
"""A loop that has not turned for so long hangs."""


@dataclass(frozen=True)
class Answer:
    """Whether all is well, and why in plain words."""

    good: bool
    words: str


def alive(warm: bool, late_s: float) -> Answer:
    """Whether the main loop turns."""
    if not warm:
        return Answer(True, "alive: the model is getting warm")
    if late_s > LATE_S:
        return Answer(False, f"hangs: the main loop has not turned for {late_s:.0f} s")
    return Answer(True, "alive")


def ready(warm: bool, late_s: float, ears: Sequence[Ear], now: float) -> Answer:
    """Whether every required source is heard; a line for each that is to be told of."""
    if not warm:
        return Answer(False, "not hearing: the model is getting warm")
    if late_s > LATE_S:
        return Answer(False, f"not hearing: the main loop has not turned for {late_s:.0f} s")
    deaf = [ear for ear in ears if ear.source.required and not _well(ear)]
    lines = [f"{ear.name}: {described(ear.condition, now)}" for ear in ears]
    if not ears:
        lines = ["there is no source"]
    return Answer(not deaf, "\n".join(["not hearing" if deaf else "hearing", *lines]))


def words(ears: Sequence[Ear], now: float) -> str:
    """STATUS= in one line: how many are heard, and what is wrong with those that are not."""
    heard = sum(ear.condition.heard for ear in ears)
    wrong = [
        f"{ear.name}: {described(ear.condition, now, moving=False)}"
        for ear in ears
        if ear.condition.state is not State.hearing
    ]
    return "; ".join([f"{heard} of {len(ears)} sources heard", *wrong[:5]])


def settled(ear: Ear) -> bool:
    """Nothing has to be waited for before saying READY=1."""
    return not ear.source.required or _well(ear)


def analysing(ears: Sequence[Ear], now: float, stepped: float) -> bool:
    """Samples are analysed, or why there are none is known and more tries are announced."""
    heard = [ear for ear in ears if ear.condition.heard]
    return not heard or now - stepped <= max(ear.policy.stall_s for ear in heard) + LATE_S


def described(condition: Condition, now: float, *, moving: bool = True) -> str:
    """A condition in words; ``moving``: with seconds that count."""
    state, since = condition.state, now - condition.since
    match state:
        case State.hearing:
            return "hearing"
        case State.silent:
            return f"silent for {since:.0f} s" if moving else "silent"
        case State.opening:
            return "opening"
        case State.off:
            return "off by its schedule"
        case State.ended:
            return "ended"
        case State.absent | State.dead:
            if not condition.fault:
                return "not opened yet"
            left = max(0.0, condition.retry_at - now)
            after = f"next try in {left:.0f} s" if moving else "trying again"
            return f"{state}: {condition.fault}; {after}"


def tell(log: Log, ear: Ear, before: Condition, after: Condition, now: float) -> None:
    """A line for a step of a source's life."""
    name = ear.name
    match after.state:
        case State.hearing if before.state is State.silent:
            log.say("sound", "no longer silent", source=name)
        case State.hearing:
            log.say("hearing", f"hearing, {ear.format}", source=name)
        case State.silent:
            log.say("silence", "gives nothing but silence", "warning", source=name)
        case State.absent | State.dead:
            wait = max(0.0, after.retry_at - now)
            said = f"{after.state}: {after.fault}; next try in {wait:.1f} s"
            log.say("source_failed", said, "warning", source=name, tries=after.tries)
        case State.off:
            log.say("off", "off by its schedule", source=name)
        case State.ended:
            log.say("ended", "ended", source=name)
        case State.opening:
            pass


def _well(ear: Ear) -> bool:
    return ear.condition.heard or ear.condition.state in (State.off, State.ended)
