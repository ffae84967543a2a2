"""What is to be done with a source: one place decides, and knows no thread, clock or device.

`step` goes from one `Condition` to the next by what was `Seen`; its answer says to open the source,
to close it, or neither. A source that ends, fails, or gives no sample for ``stall_s`` seconds is
closed and opened anew after a pause that doubles up to a most, less a random part, so that fifty
machines do not come back at one moment. Only one that was heard for a while begins with the
shortest pause again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Literal


class SourceState(StrEnum):
    """What a source is up to, as it is exported.

    ``absent``: it can't be opened. ``dead``: it was open, and gave nothing or stopped. ``silent``:
    it gives samples, all of them nought or next to it. ``off``: not now, by its schedule.
    ``ended``: there is no more of it.
    """

    opening = "opening"
    receiving = "hearing"
    silent = "silent"
    absent = "absent"
    dead = "dead"
    off = "off"
    ended = "ended"


Action = Literal["open", "close", "nothing"]


@dataclass(frozen=True)
class RetryPolicy:
    """Seconds, as `streamdet.config.schema.Config` has them."""

    open_s: float = 15.0
    stall_s: float = 5.0
    first_retry_s: float = 1.0
    max_retry_s: float = 60.0
    silence_s: float = 10.0


@dataclass(frozen=True)
class SourceObservation:
    """What is known of a source now: ``wanted`` by its schedule; that it is ``opened``, and how
    many ``samples`` it has given since; ``silent``: nothing but silence among those that are new;
    why it can't go on (``fault``), that more tries would hardly help (``hopeless``), or that it has
    come to its ``ended``."""

    scheduled: bool = True
    opened: bool = False
    samples: int = 0
    silent: bool = False
    fault: str | None = None
    permanent: bool = False
    ended: bool = False


@dataclass(frozen=True)
class SourceCondition:
    """``since``: of this state; ``fresh``: when samples last came; ``loud``: when they were last
    no silence; ``tries`` that failed since it was last heard for ``open_s``; ``deaf_since``: None
    while it is heard."""

    state: SourceState
    since: float
    samples: int = 0
    last_sample_at: float = 0.0
    last_sound_at: float = 0.0
    tries: int = 0
    retry_at: float = 0.0
    not_receiving_since: float | None = None
    fault: str = ""

    @property
    def open(self) -> bool:
        """Whether there is something to be closed."""
        return self.state in (SourceState.opening, SourceState.receiving, SourceState.silent)

    @property
    def receiving(self) -> bool:
        """Whether samples of it are analysed."""
        return self.state in (SourceState.receiving, SourceState.silent)


def initial_condition(now: float) -> SourceCondition:
    """A source that is to be opened at once."""
    return SourceCondition(SourceState.absent, now, retry_at=now, not_receiving_since=now)


def step(
    policy: RetryPolicy,
    condition: SourceCondition,
    seen: SourceObservation,
    now: float,
    chance: float,
) -> tuple[SourceCondition, Action]:
    """``chance`` in [0, 1) is what the pause is shortened by, up to a half."""
    if condition.state is SourceState.ended:
        return condition, "nothing"
    if not seen.scheduled:
        if condition.state is SourceState.off:
            return condition, "nothing"
        return SourceCondition(SourceState.off, now), "close" if condition.open else "nothing"
    if condition.state is SourceState.off:
        return SourceCondition(
            SourceState.opening, now, last_sample_at=now, not_receiving_since=now
        ), "open"
    if not condition.open:
        if now < condition.retry_at:
            return condition, "nothing"
        return replace(
            condition, state=SourceState.opening, since=now, samples=0, last_sample_at=now
        ), "open"
    return _step_open(policy, condition, seen, now, chance)


def _step_open(
    policy: RetryPolicy,
    condition: SourceCondition,
    seen: SourceObservation,
    now: float,
    chance: float,
) -> tuple[SourceCondition, Action]:
    if seen.samples > condition.samples:
        loud = now if not seen.silent or not condition.receiving else condition.last_sound_at
        condition = replace(condition, samples=seen.samples, last_sample_at=now, last_sound_at=loud)
        state = SourceState.silent if now - loud >= policy.silence_s else SourceState.receiving
        if state is not condition.state:
            condition = replace(condition, state=state, since=now)
        lasts = condition.receiving and now - condition.since >= policy.open_s
        condition = replace(
            condition, not_receiving_since=None, tries=0 if lasts else condition.tries, fault=""
        )
    if seen.ended:
        return SourceCondition(SourceState.ended, now, samples=condition.samples), "close"
    fault = seen.fault
    if condition.state is SourceState.opening and now - condition.since > policy.open_s:
        fault = fault or f"no sample within {policy.open_s:g} s"
    elif condition.receiving and now - condition.last_sample_at > policy.stall_s:
        fault = fault or f"no sample for {policy.stall_s:g} s"
    if fault is None:
        return condition, "nothing"
    tries = condition.tries + 1
    pause = policy.max_retry_s if seen.permanent else backoff_s(policy, tries)
    return SourceCondition(
        SourceState.dead if seen.opened else SourceState.absent,
        now,
        tries=tries,
        retry_at=now + pause * (1.0 - 0.5 * chance),
        not_receiving_since=now
        if condition.not_receiving_since is None
        else condition.not_receiving_since,
        fault=fault,
    ), "close"


def backoff_s(policy: RetryPolicy, tries: int) -> float:
    """The pause behind so many failures in a row, before chance shortens it."""
    return min(policy.max_retry_s, policy.first_retry_s * 2.0 ** min(tries - 1, 32))
