"""When to open and close a live source. All retry decisions are made here, by a pure function.

`step` takes the `SourceCondition` and a `SourceObservation` and returns the next condition and
whether to open the source, close it, or do nothing. A source that ends, fails, or delivers no
sample for ``stall_s`` seconds is closed. It is opened again after a backoff that doubles up to a
maximum, minus a random part, so that many machines do not reconnect at the same moment. The
backoff starts again at its minimum only after a source has delivered samples for ``open_s``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Literal


class SourceState(StrEnum):
    """The state of a source. The value is the ``state`` label of ``streamdet_source_state``.

    The label values are part of the metrics interface: dashboards and alerts query them. In
    particular, `receiving` is exported as ``hearing``. Text for people uses `label` instead.

    ``receiving``: samples arrive. ``silent``: samples arrive, all below the silence threshold.
    ``opening``: no sample has arrived yet. ``absent``: it cannot be opened. ``dead``: it was open,
    and then failed or stopped delivering samples. ``off``: its schedule excludes the current time.
    ``ended``: it has reached its end.
    """

    opening = "opening"
    receiving = "hearing"
    silent = "silent"
    absent = "absent"
    dead = "dead"
    off = "off"
    ended = "ended"

    @property
    def label(self) -> str:
        """The state in plain words, for pages, logs and systemd."""
        return _LABELS[self]


_LABELS = {
    SourceState.opening: "connecting",
    SourceState.receiving: "receiving audio",
    SourceState.silent: "no signal",
    SourceState.absent: "disconnected",
    SourceState.dead: "disconnected",
    SourceState.off: "off (schedule)",
    SourceState.ended: "ended",
}

Action = Literal["open", "close", "nothing"]


@dataclass(frozen=True)
class RetryPolicy:
    """Timeouts and backoff in seconds, as in `streamdet.config.schema.Config`."""

    open_s: float = 15.0
    stall_s: float = 5.0
    first_retry_s: float = 1.0
    max_retry_s: float = 60.0
    silence_s: float = 10.0


@dataclass(frozen=True)
class SourceObservation:
    """What is known of a source at one moment.

    ``scheduled``: its schedule includes the current time. ``opened``: it has been opened.
    ``samples``: samples delivered since then. ``silent``: the samples since the last observation
    are all below the silence threshold. ``fault``: why it failed. ``permanent``: retrying soon is
    unlikely to help. ``ended``: it has reached its end.
    """

    scheduled: bool = True
    opened: bool = False
    samples: int = 0
    silent: bool = False
    fault: str | None = None
    permanent: bool = False
    ended: bool = False


@dataclass(frozen=True)
class SourceCondition:
    """The state of a source, with the times that the next step depends on.

    All times are monotonic seconds. ``since``: when the state began. ``samples``: samples
    delivered since the source was opened. ``last_sample_at``: when samples last arrived.
    ``last_sound_at``: when they were last above the silence threshold. ``tries``: consecutive
    failures. ``retry_at``: when to open it again. ``not_receiving_since``: None while samples
    arrive. ``fault``: the last failure.
    """

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
        """Whether the source is open or being opened, so that it has to be closed."""
        return self.state in (SourceState.opening, SourceState.receiving, SourceState.silent)

    @property
    def receiving(self) -> bool:
        """Whether samples arrive, silent or not."""
        return self.state in (SourceState.receiving, SourceState.silent)


def initial_condition(now: float) -> SourceCondition:
    """A source that is due to be opened."""
    return SourceCondition(SourceState.absent, now, retry_at=now, not_receiving_since=now)


def step(
    policy: RetryPolicy,
    condition: SourceCondition,
    observation: SourceObservation,
    now: float,
    jitter: float,
) -> tuple[SourceCondition, Action]:
    """Return the next condition and what to do with the source.

    ``jitter`` in [0, 1) shortens the backoff by up to a half.
    """
    if condition.state is SourceState.ended:
        return condition, "nothing"
    if not observation.scheduled:
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
    return _step_open(policy, condition, observation, now, jitter)


def _step_open(
    policy: RetryPolicy,
    condition: SourceCondition,
    observation: SourceObservation,
    now: float,
    jitter: float,
) -> tuple[SourceCondition, Action]:
    if observation.samples > condition.samples:
        condition = _with_new_samples(policy, condition, observation, now)
    if observation.ended:
        return SourceCondition(SourceState.ended, now, samples=condition.samples), "close"
    fault = observation.fault
    if condition.state is SourceState.opening and now - condition.since > policy.open_s:
        fault = fault or f"no sample within {policy.open_s:g} s"
    elif condition.receiving and now - condition.last_sample_at > policy.stall_s:
        fault = fault or f"no sample for {policy.stall_s:g} s"
    if fault is None:
        return condition, "nothing"
    tries = condition.tries + 1
    pause = policy.max_retry_s if observation.permanent else backoff_s(policy, tries)
    since = condition.not_receiving_since
    return SourceCondition(
        SourceState.dead if observation.opened else SourceState.absent,
        now,
        tries=tries,
        retry_at=now + pause * (1.0 - 0.5 * jitter),
        not_receiving_since=now if since is None else since,
        fault=fault,
    ), "close"


def _with_new_samples(
    policy: RetryPolicy, condition: SourceCondition, observation: SourceObservation, now: float
) -> SourceCondition:
    sound = not observation.silent or not condition.receiving
    last_sound_at = now if sound else condition.last_sound_at
    silent = now - last_sound_at >= policy.silence_s
    state = SourceState.silent if silent else SourceState.receiving
    since = condition.since if state is condition.state else now
    stable = condition.receiving and now - since >= policy.open_s
    return replace(
        condition,
        state=state,
        since=since,
        samples=observation.samples,
        last_sample_at=now,
        last_sound_at=last_sound_at,
        tries=0 if stable else condition.tries,
        not_receiving_since=None,
        fault="",
    )


def backoff_s(policy: RetryPolicy, tries: int) -> float:
    """The pause after ``tries`` consecutive failures, before jitter shortens it."""
    return min(policy.max_retry_s, policy.first_retry_s * 2.0 ** min(tries - 1, 32))
