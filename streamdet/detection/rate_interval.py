"""The false alarms per second of recordings at every threshold, with a 95 % interval.

The interval is that of the posterior of `false_alarm_rate.sample_rates`: of counts where there are
enough events, and of the tail where the rate is extrapolated. It holds for times like those of the
recordings.

A hammer or a dog makes many events in one minute, and none in the next hour. They tell less than as
many events of a Poisson process. So all counts and seconds are divided by the dispersion, the ratio
of variance to mean between parts of the recordings (McCullagh & Nelder, *Generalized Linear
Models*, 1989, section 6.2; for a posterior: Ribatet, Cooley & Davison, *Bayesian inference from
composite likelihoods*, Statistica Sinica 22, 2012). Resampling parts of the recordings instead, a
block bootstrap, says nothing where there are few or no events.

The prior of a bundle has no part in it, because places differ by orders of magnitude.

All functions are pure.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from streamdet.detection import background
from streamdet.detection.background import BackgroundConfig, BackgroundState
from streamdet.detection.false_alarm_rate import (
    RateCurve,
    TailConfig,
    estimate_rates,
    expected_per_day,
    sample_rates,
)

PART_S = 60.0
"""Length of a part of a recording, over which events are counted."""
_QUANTILES = (0.025, 0.5, 0.975)
_DRAWS = 2_000
_GROUPS, _LEAST_GROUPS = (1, 10, 60), 10
"""The dispersion is the highest one between groups of this many parts."""
_MOST_HOURS = 1e6
_SEARCH_STEPS = 16


class Parts(NamedTuple):
    """Consecutive parts of recordings, of about `PART_S`. ``starts`` (m, COUNT) float64: events
    that began above each level. ``seconds`` (m,) float64: how long each part was observed."""

    starts: np.ndarray
    seconds: np.ndarray


class RateInterval(NamedTuple):
    """The rates of recordings at each level: the median of the posterior and the limits of the 95 %
    interval.

    ``dispersion``: by how much the counts vary more than those of a Poisson process, at least 1.
    """

    median: RateCurve
    low: RateCurve
    high: RateCurve
    dispersion: float


def estimate_interval(config: BackgroundConfig, tail: TailConfig, parts: Parts) -> RateInterval:
    """The rates of the background that ``parts`` hold, with the fit of the tail."""
    starts, seconds = parts.starts.sum(axis=0), float(parts.seconds.sum())
    fit = estimate_rates(config, tail, _state_of(config, starts, seconds)).tail
    dispersion = 1.0
    if fit is not None:
        level = round((fit.start - background.LOWEST) / background.STEP)
        dispersion = estimate_dispersion(parts.starts[:, level], parts.seconds)
    state = _state_of(config, starts / dispersion, seconds / dispersion)
    fit = estimate_rates(config, tail, state).tail
    low, median, high = np.quantile(sample_rates(config, tail, state, _DRAWS), _QUANTILES, axis=0)
    return RateInterval(
        RateCurve(median, fit), RateCurve(low, fit), RateCurve(high, fit), dispersion
    )


def estimate_dispersion(starts: np.ndarray, seconds: np.ndarray) -> float:
    """The variance of (m,) counts in parts of (m,) ``seconds``, divided by that of a Poisson
    process. At least 1, which is also the answer for few parts."""
    highest = 1.0
    for size in _GROUPS:
        first = np.arange(0, len(seconds), size)
        if len(first) < _LEAST_GROUPS:
            break
        observed_s = np.add.reduceat(seconds, first)
        counts = np.add.reduceat(starts, first)[observed_s > 0.0]
        observed_s = observed_s[observed_s > 0.0]
        if counts.sum() > 0.0 and len(counts) >= _LEAST_GROUPS:
            expected = observed_s * (counts.sum() / observed_s.sum())
            pearson = float(((counts - expected) ** 2 / expected).sum())
            highest = max(highest, pearson / (len(counts) - 1))
    return highest


def hours_needed(
    config: BackgroundConfig,
    tail: TailConfig,
    known: RateInterval,
    threshold: float,
    factor: float = 2.0,
) -> float:
    """The hours of such recordings from which the upper limit at ``threshold``, a probability, is
    at most the square of ``factor`` times the lower one.

    The recordings are taken to have the expected counts at each level, as Asimov data sets do
    (Cowan et al., *Asymptotic formulae for likelihood-based tests of new physics*, European
    Physical Journal C 71, 2011). At most a million.
    """
    first, last = math.log(0.01), math.log(_MOST_HOURS)
    for _ in range(_SEARCH_STEPS):
        middle = (first + last) / 2.0
        seconds = 3_600.0 * math.exp(middle) / known.dispersion
        state = _state_of(config, known.median.rates * seconds, seconds)
        limits = np.quantile(sample_rates(config, tail, state, _DRAWS), _QUANTILES[::2], axis=0)
        low, high = (expected_per_day(RateCurve(rates, None), threshold) for rates in limits)
        if high <= factor**2 * low:
            last = middle
        else:
            first = middle
    return math.exp(last)


def _state_of(config: BackgroundConfig, starts: np.ndarray, seconds: float) -> BackgroundState:
    state = background.init(config)
    return state._replace(
        starts=starts, exposure=np.full(background.COUNT, seconds), seconds=seconds
    )
