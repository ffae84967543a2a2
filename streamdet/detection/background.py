"""The background of a source: how often its scores would begin an event, at every threshold.

At a threshold x an event begins at a frame whose score is above x, after `gap_s` without a score
above x. So a frame counts at all levels between the highest score of the last ``gap_s`` and its own
score: this is runs declustering (Coles, *An Introduction to Statistical Modeling of Extreme
Values*, 2001, section 5.3.2) at all levels at once. A long sound counts once, and ten blows of a
hammer ten times, as the decision reports them. Hysteresis is left out, which counts slightly more.

Counts and seconds are forgotten exponentially, once per whole second of audio.

Reported events are not part of the background, as targets are not part of the clutter in a censored
CFAR detector (Rickard & Dillard, *Adaptive Detection Algorithms for Multiple-Target Situations*,
IEEE Trans. AES 13, 1977). The seconds within ``guard_s`` of one are skipped, because the shots of a
burst that were missed lie there. Only so many seconds may be skipped: a source that reports events
without end has the wrong threshold, and could not learn that if all of its scores were skipped. To
remove only high scores would bias the tail downward, so
``exposure`` says for each level how long it was observed: a second counts for the levels below the
threshold in force. Reported events are kept apart in ``reports``, and how much they count depends
on their verdicts (`reported_rates`).

All functions are pure. Frames are counted ``delay_s`` late, when the events around them are over,
and COUNTED_S together, so any chunking of a stream gives the same state.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

LOWEST, STEP, COUNT = -14.0, 0.1, 281
"""Levels are COUNT logits from LOWEST on, STEP apart."""
MAX_REPORTS = 500
"""Reported events that are remembered; the oldest is dropped first."""
COUNTED_S = 10
"""Seconds of frames that are counted together, which takes less time."""
_LONGEST_EVENT_S = 30.0
"""An event of 20 s, its closing gap and the delay of the second stage."""


@dataclass(frozen=True)
class BackgroundConfig:
    """Parameters of the background, in seconds.

    ``frame_s`` is the length of a scored frame. ``half_life_s`` is the time after which a second
    counts half; infinity forgets nothing. ``gap_s`` is the pause that separates two events.

    At most ``skip_s`` are skipped near reported events, and over time a share of ``skip_share``;
    further seconds count in full.

    Of the reported events without a verdict, one in each ``report_spacing_s`` counts, and as
    ``false_share`` of a false alarm. Reviews replace that share: it counts like ``share_reviews``
    of them.
    """

    frame_s: float
    half_life_s: float = 86_400.0
    gap_s: float = 0.5
    guard_s: float = 30.0
    skip_s: float = 1_200.0
    skip_share: float = 0.1
    report_spacing_s: float = 1_800.0
    false_share: float = 0.1
    share_reviews: float = 5.0

    @property
    def per_second(self) -> int:
        """Frames in a whole second, at least 1."""
        return max(1, round(1.0 / self.frame_s))

    @property
    def second_s(self) -> float:
        """The exact length of ``per_second`` frames in seconds."""
        return self.per_second * self.frame_s

    @property
    def delay_s(self) -> float:
        """How long after a frame all events that could exclude it are known."""
        return self.guard_s + _LONGEST_EVENT_S

    @property
    def memory_s(self) -> float:
        """The seconds that count in the long run: the mean life of an exponential decay."""
        return self.half_life_s / math.log(2.0)


class EventSpan(NamedTuple):
    """A reported event of the open stream: frames ``first`` to ``last - 1``, its highest final
    score as a logit, and its onset in samples, which identifies it in the stream."""

    first: int
    last: int
    score: float
    onset: int


class Report(NamedTuple):
    """A reported event. ``second`` counts from the beginning of the background. ``key`` is its id,
    empty until it is known. ``verdict``: whether it was a gunshot, None if nobody has said."""

    second: int
    score: float
    onset: int
    key: str = ""
    verdict: bool | None = None


class OpenStream(NamedTuple):
    """The part of a stream that is not counted yet, all scores as float32 logits.

    The stream began at second ``begin`` of the background. ``pending`` (n,) are the scores of the
    frames, and ``limits`` (n,) the threshold in force; ``before`` (gap,) are the scores before
    them. ``spans`` are the reported events near them.
    """

    begin: int
    before: np.ndarray
    pending: np.ndarray
    limits: np.ndarray
    spans: tuple[EventSpan, ...] = ()


class BackgroundState(NamedTuple):
    """What is known of the background.

    ``second``: whole seconds of audio so far. ``starts`` (COUNT,) float64: events that began above
    each level. ``exposure`` (COUNT,) float64: seconds in which each level was observed. Both decay.
    ``seconds``: the exposure of the lowest level without the prior's part. ``allowance``: seconds
    that may be skipped now.
    """

    second: int
    starts: np.ndarray
    exposure: np.ndarray
    seconds: float
    allowance: float
    reports: tuple[Report, ...]
    stream: OpenStream


class Prior(NamedTuple):
    """What is assumed of a source before it has a background: ``rates`` (COUNT,) float64 in events
    per second above each level. It counts as much as ``weight_s`` seconds, and is forgotten like
    them."""

    rates: np.ndarray
    weight_s: float


def levels() -> np.ndarray:
    """The logits of all levels, (COUNT,) float64."""
    return LOWEST + STEP * np.arange(COUNT)


def logit(probabilities: np.ndarray | float) -> np.ndarray:
    """Probabilities as logits between the lowest and the highest level, float32."""
    p = np.clip(np.asarray(probabilities, np.float64), 1e-9, 1.0 - 1e-9)
    return np.clip(np.log(p) - np.log1p(-p), LOWEST, -LOWEST).astype(np.float32)


def sigmoid(at: float) -> float:
    """The probability of a logit."""
    return 1.0 / (1.0 + math.exp(-at))


def init(config: BackgroundConfig, prior: Prior | None = None) -> BackgroundState:
    """The state before the first frame."""
    starts, exposure = np.zeros(COUNT), np.zeros(COUNT)
    if prior is not None:
        starts, exposure = prior.rates * prior.weight_s, exposure + prior.weight_s
    return BackgroundState(0, starts, exposure, 0.0, config.skip_s, (), open_stream(config, 0))


def open_stream(config: BackgroundConfig, second: int) -> OpenStream:
    """A stream without any frame, from ``second`` on."""
    before = np.full(max(1, round(config.gap_s / config.frame_s)), LOWEST, np.float32)
    return OpenStream(second, before, np.zeros(0, np.float32), np.zeros(0, np.float32))


def step(
    config: BackgroundConfig,
    state: BackgroundState,
    scores: np.ndarray,
    threshold: float,
    spans: Sequence[EventSpan] = (),
) -> BackgroundState:
    """Add the ``(t,)`` final gunshot probabilities of the next frames of the open stream.

    ``threshold`` was in force for them. ``spans`` are the reported events that these frames end.
    """
    stream, size = state.stream, config.per_second
    limits = np.full(len(scores), logit(threshold), np.float32)
    stream = stream._replace(
        pending=np.concatenate([stream.pending, logit(scores)]),
        limits=np.concatenate([stream.limits, limits]),
        spans=(*stream.spans, *spans),
    )
    new = (Report(stream.begin + span.first // size, span.score, span.onset) for span in spans)
    state = state._replace(stream=stream, reports=(*state.reports, *new)[-MAX_REPORTS:])
    ready, together = len(stream.pending) - round(config.delay_s / config.frame_s), COUNTED_S * size
    return _count(config, state, ready // together * together)


def finish(config: BackgroundConfig, state: BackgroundState) -> BackgroundState:
    """End the open stream, whose events are all over, and open the next one.

    Counts what is pending. A part of a second at the end is dropped.
    """
    state = _count(config, state, len(state.stream.pending))
    return state._replace(stream=open_stream(config, state.second))


def identify(state: BackgroundState, onset: int, key: str) -> BackgroundState:
    """Give the newest reported event with this onset its id."""
    for i in range(len(state.reports) - 1, -1, -1):
        report = state.reports[i]
        if report.onset == onset and not report.key:
            named = report._replace(key=key)
            return state._replace(reports=(*state.reports[:i], named, *state.reports[i + 1 :]))
    return state


def review(state: BackgroundState, verdicts: Mapping[str, bool | None]) -> BackgroundState:
    """Set the verdicts of reported events, by id: True, False, or None for none. Unknown events,
    which have been forgotten, change nothing."""
    reports = tuple(
        report._replace(verdict=verdicts.get(report.key, report.verdict))
        for report in state.reports
    )
    return state._replace(reports=reports)


def reported_rates(config: BackgroundConfig, state: BackgroundState) -> np.ndarray:
    """False alarms per second among the reported events, above each level: (COUNT,) float64.

    An event reviewed as false counts 1, one reviewed as true 0. One without a verdict counts as the
    share of false ones among the reviewed, and only if none has counted in the last
    ``report_spacing_s``: a burst of gunfire counts once, and a source that reports false alarms all
    day counts all day. The counts are divided by the whole memory, however short the background.
    """
    false = sum(report.verdict is False for report in state.reports)
    true = sum(report.verdict is True for report in state.reports)
    prior = config.share_reviews
    share = (false + prior * config.false_share) / (false + true + prior)
    rates, last = np.zeros(COUNT), -math.inf
    for report in state.reports:
        weight = 0.0 if report.verdict else 1.0
        if report.verdict is None:
            if (report.second - last) * config.second_s < config.report_spacing_s:
                continue
            weight, last = share, report.second
        age_s = max(0, state.second - report.second) * config.second_s
        # one level more, so that a threshold between two levels is above the score
        rates[: _levels_below(report.score) + 1] += weight * _decay(config, age_s)
    return rates / config.memory_s


def _count(config: BackgroundConfig, state: BackgroundState, frames: int) -> BackgroundState:
    """Count the whole seconds among the first ``frames`` pending ones."""
    size, stream = config.per_second, state.stream
    number = frames // size
    if number < 1:
        return state
    count, gap = number * size, len(stream.before)
    joined = np.concatenate([stream.before, stream.pending])
    recent = np.lib.stride_tricks.sliding_window_view(joined[: gap + count - 1], gap).max(axis=1)
    upper, lower = _levels_below(stream.pending[:count]), _levels_below(recent)
    rising = np.flatnonzero(lower < upper)
    by_second = np.searchsorted(rising, size * np.arange(number + 1))
    caps = _levels_below(stream.limits[:count].reshape(number, size).min(axis=1))
    starts, exposure, seconds = state.starts.copy(), state.exposure.copy(), state.seconds
    decay, allowance = _decay(config, config.second_s), state.allowance
    for i in range(number):
        starts, exposure, seconds = starts * decay, exposure * decay, seconds * decay
        cap = caps[i]
        allowance = min(config.skip_s, allowance + config.skip_share * config.second_s)
        if _is_near_event(config, stream.spans, state.second - stream.begin + i):
            if allowance >= config.second_s:
                allowance -= config.second_s
                continue
            cap = COUNT
        exposure[:cap] += config.second_s
        seconds += config.second_s
        for frame in rising[by_second[i] : by_second[i + 1]]:
            starts[lower[frame] : min(upper[frame], cap)] += 1.0
    second = state.second + number
    first = (second - stream.begin) * size - config.guard_s / config.frame_s
    rest = OpenStream(
        stream.begin, joined[count : count + gap], stream.pending[count:], stream.limits[count:],
        tuple(span for span in stream.spans if span.last > first),
    )  # fmt: skip
    return state._replace(
        second=second,
        starts=starts,
        exposure=exposure,
        seconds=seconds,
        allowance=allowance,
        stream=rest,
    )


def _is_near_event(config: BackgroundConfig, spans: tuple[EventSpan, ...], second: int) -> bool:
    """Whether a second of the stream lies within the guard time of an event."""
    guard = config.guard_s / config.frame_s
    first, last = second * config.per_second, (second + 1) * config.per_second
    return any(span.first - guard < last and first < span.last + guard for span in spans)


def _levels_below(logits: np.ndarray | float) -> np.ndarray:
    """How many levels are below each logit, int."""
    return np.clip(np.ceil((np.asarray(logits, np.float64) - LOWEST) / STEP), 0, COUNT).astype(int)


def _decay(config: BackgroundConfig, seconds: float) -> float:
    return 0.5 ** (seconds / config.half_life_s)
