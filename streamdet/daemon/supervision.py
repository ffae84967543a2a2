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


class State(StrEnum):
    """What a source is up to, as it is exported.

    ``absent``: it can't be opened. ``dead``: it was open, and gave nothing or stopped. ``silent``:
    it gives samples, all of them nought or next to it. ``off``: not now, by its schedule.
    ``ended``: there is no more of it.
    """

    opening = "opening"
    hearing = "hearing"
    silent = "silent"
    absent = "absent"
    dead = "dead"
    off = "off"
    ended = "ended"


Action = Literal["open", "close", "nothing"]


@dataclass(frozen=True)
class Policy:
    """Seconds, as `streamdet.config.schema.Config` has them."""

    open_s: float = 15.0
    stall_s: float = 5.0
    first_s: float = 1.0
    most_s: float = 60.0
    silence_s: float = 10.0


@dataclass(frozen=True)
class Seen:
    """What is known of a source now: ``wanted`` by its schedule; that it is ``opened``, and how
    many ``samples`` it has given since; ``silent``: nothing but silence among those that are new;
    why it can't go on (``fault``), that more tries would hardly help (``hopeless``), or that it has
    come to its ``ended``."""

    wanted: bool = True
    opened: bool = False
    samples: int = 0
    silent: bool = False
    fault: str | None = None
    hopeless: bool = False
    ended: bool = False


@dataclass(frozen=True)
class Condition:
    """``since``: of this state; ``fresh``: when samples last came; ``loud``: when they were last
    no silence; ``tries`` that failed since it was last heard for ``open_s``; ``deaf_since``: None
    while it is heard."""

    state: State
    since: float
    samples: int = 0
    fresh: float = 0.0
    loud: float = 0.0
    tries: int = 0
    retry_at: float = 0.0
    deaf_since: float | None = None
    fault: str = ""

    @property
    def open(self) -> bool:
        """Whether there is something to be closed."""
        return self.state in (State.opening, State.hearing, State.silent)

    @property
    def heard(self) -> bool:
        """Whether samples of it are analysed."""
        return self.state in (State.hearing, State.silent)


def begin(now: float) -> Condition:
    """A source that is to be opened at once."""
    return Condition(State.absent, now, retry_at=now, deaf_since=now)


def step(
    policy: Policy, had: Condition, seen: Seen, now: float, chance: float
) -> tuple[Condition, Action]:
    """``chance`` in [0, 1) is what the pause is shortened by, up to a half."""
    if had.state is State.ended:
        return had, "nothing"
    if not seen.wanted:
        if had.state is State.off:
            return had, "nothing"
        return Condition(State.off, now), "close" if had.open else "nothing"
    if had.state is State.off:
        return Condition(State.opening, now, fresh=now, deaf_since=now), "open"
    if not had.open:
        if now < had.retry_at:
            return had, "nothing"
        return replace(had, state=State.opening, since=now, samples=0, fresh=now), "open"
    return _opened(policy, had, seen, now, chance)


def _opened(
    policy: Policy, had: Condition, seen: Seen, now: float, chance: float
) -> tuple[Condition, Action]:
    if seen.samples > had.samples:
        loud = now if not seen.silent or not had.heard else had.loud
        had = replace(had, samples=seen.samples, fresh=now, loud=loud)
        state = State.silent if now - loud >= policy.silence_s else State.hearing
        if state is not had.state:
            had = replace(had, state=state, since=now)
        lasts = had.heard and now - had.since >= policy.open_s
        had = replace(had, deaf_since=None, tries=0 if lasts else had.tries, fault="")
    if seen.ended:
        return Condition(State.ended, now, samples=had.samples), "close"
    fault = seen.fault
    if had.state is State.opening and now - had.since > policy.open_s:
        fault = fault or f"no sample within {policy.open_s:g} s"
    elif had.heard and now - had.fresh > policy.stall_s:
        fault = fault or f"no sample for {policy.stall_s:g} s"
    if fault is None:
        return had, "nothing"
    tries = had.tries + 1
    pause = policy.most_s if seen.hopeless else pause_s(policy, tries)
    return Condition(
        State.dead if seen.opened else State.absent,
        now,
        tries=tries,
        retry_at=now + pause * (1.0 - 0.5 * chance),
        deaf_since=now if had.deaf_since is None else had.deaf_since,
        fault=fault,
    ), "close"


def pause_s(policy: Policy, tries: int) -> float:
    """The pause behind so many failures in a row, before chance shortens it."""
    return min(policy.most_s, policy.first_s * 2.0 ** min(tries - 1, 32))
