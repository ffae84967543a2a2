"""False alarms per second at any threshold, also at rates that were never observed.

Where events are frequent, the rate above a level is counted. Above the start of the tail, where
they are rare, it is that of a Poisson process of peaks over a threshold whose excesses have a
generalised Pareto distribution (Coles, *An Introduction to Statistical Modeling of Extreme Values*,
2001, chapters 4 and 7):

    rate(x) = rate(u) * (1 + shape * (x - u) / scale) ** (-1 / shape)

With a prior for the rates, ``x - u`` is measured in its tail instead of logits: by the logarithm of
the prior's rate at u over that at x. A source without data of its own then has the prior's rates at
all levels, and each source the shape of its own tail as data come in.

The likelihood is that of binned counts, each level with its own exposure, because levels above the
threshold in force are not observed while it is in force. (Probability-weighted moments, Hosking &
Wallis 1987, are simpler, but assume that all levels are observed equally long.) A prior keeps the
shape near 0 (Martins & Stedinger, *Generalized maximum-likelihood GEV quantile estimators*, Water
Resources Research 36, 2000). Shape and scale are the means of the posterior, which change smoothly
with the data, on grids of which each lies around the mean of the one before.

Where shots may be among the peaks, these are a mixture of background and of shots, whose scores are
distributed as in validation scenes. The number of each is the most likely one (expectation
maximisation: Dempster, Laird & Rubin, JRSS B 39, 1977), and only the background counts. Which of
the two the highest peaks are is uncertain, so the rates are means of the posterior then.

Reported events give a lower bound of the rate (`background.reported_rates`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from streamdet.detection import background
from streamdet.detection.background import BackgroundConfig, BackgroundState, Prior

DAY_S = 86_400.0
_LEAST_EXPOSURE_S = 1.0
"""A level that was observed for less than this tells nothing."""
_ROUNDS, _NODES = 4, 15
"""Grids of shapes and scales, and the nodes of each along one axis."""
_LEAST_RATE = 1e-12
"""Events per second; below this, rates are the same."""
_LEAST_DEPTH = 0.02
_MIXTURE_STEPS = 30


@dataclass(frozen=True)
class TailConfig:
    """Parameters of the tail.

    It starts where at most ``rate`` events per second and at most ``share`` of the events at the
    busiest level are left, but has at least ``least_events`` events where there are so many, and
    starts at or above ``lowest``, a logit. With two stages that is the candidate threshold: only
    above it do all scores come from the second stage.

    The shape is at most ``shape_limit`` from 0, with a standard deviation of ``shape_sd`` before
    any data. The logarithm of the scale is that of ``scale``, with a standard deviation of
    ``scale_sd``. The scale is in logits or, if there are ``depths``, in these: for each level, how
    far it lies in the prior's tail (`measure_depths`).
    """

    lowest: float = background.LOWEST
    rate: float = 1.0 / 60.0
    share: float = 0.2
    least_events: float = 20.0
    shape_limit: float = 0.5
    shape_sd: float = 0.1
    scale: float = 1.0
    scale_sd: float = 1.0
    depths: tuple[float, ...] | None = None

    def excesses(self, start: int) -> np.ndarray:
        """How far the levels from ``start`` on lie above it."""
        if self.depths is None:
            return background.STEP * np.arange(background.COUNT - start)
        return np.array(self.depths[start:]) - self.depths[start]


class TailFit(NamedTuple):
    """The tail starts at the logit ``start`` with ``rate`` events per second. ``shape`` and
    ``scale`` (as in `TailConfig`) are means of the posterior. ``events``: how many it was fitted
    to."""

    start: float
    rate: float
    shape: float
    scale: float
    events: float


class RateCurve(NamedTuple):
    """``rates`` (COUNT,) float64: false alarms per second above each of `background.levels`, never
    rising. ``tail``: None if there are no events at all."""

    rates: np.ndarray
    tail: TailFit | None


def measure_depths(prior: Prior) -> tuple[float, ...]:
    """How far each level lies in the tail of a prior: minus the logarithm of its rate, rising by
    at least _LEAST_DEPTH from level to level, so that no level is out of reach."""
    depths = -np.log(np.maximum(prior.rates, _LEAST_RATE))
    steps = np.maximum(np.diff(depths, prepend=depths[0]), _LEAST_DEPTH)
    return tuple(np.cumsum(steps).tolist())


def estimate_rates(
    config: BackgroundConfig,
    tail: TailConfig,
    state: BackgroundState,
    shots: np.ndarray | None = None,
) -> RateCurve:
    """The false alarms per second of a background at every level.

    ``shots`` (COUNT,): the share of shots whose highest score is between each level and the next,
    if there may be shots among the events of the background.
    """
    starts, peaks, counted = _count_peaks(state)
    fit = None
    if counted[0] > 0.0:
        start = _tail_start(tail, starts, counted)
        if shots is not None:
            shots = shots[start:] / max(float(shots[start:].sum()), 1e-300)
        fit, rates = _fit_tail(tail, peaks[start:], state.exposure[start:], start, shots)
        counted = np.concatenate([np.maximum(counted[:start], rates[0]), rates])
    rates = np.maximum(counted, background.reported_rates(config, state))
    return RateCurve(_running_max(np.maximum(rates, _LEAST_RATE)), fit)


def sample_rates(
    config: BackgroundConfig, tail: TailConfig, state: BackgroundState, count: int, seed: int = 0
) -> np.ndarray:
    """Draw ``count`` possible curves of rates from the posterior: (count, COUNT) float64, never
    rising.

    The shape and the scale of the tail are drawn from their posterior. The rate of its peaks has a
    gamma distribution, that of a Poisson rate under the prior of Jeffreys (Brown, Cai & DasGupta,
    *Interval estimation in exponential families*, Statistica Sinica 13, 2003). Below the tail each
    bin adds its own peaks, so the rate above a level has the gamma distribution of its count.
    """
    starts, peaks, counted = _count_peaks(state)
    start = _tail_start(tail, starts, counted)
    rng = np.random.default_rng(seed)
    excess = tail.excesses(start)
    posterior = _tail_posterior(tail, excess, peaks[start:], state.exposure[start:])
    points = posterior.points[rng.choice(len(posterior.weights), count, p=posterior.weights)]
    # anywhere between the nodes, so that the quantiles are not those of the grid
    points = points + posterior.spacing * (rng.random(points.shape) - 0.5)
    shape = np.clip(points[:, :1], -tail.shape_limit, tail.shape_limit)
    survival = _survival(excess, shape, np.exp(points[:, 1:]))
    observed_s = np.maximum(_bins(survival) @ state.exposure[start:], _LEAST_EXPOSURE_S)
    tail_rates = rng.standard_gamma(float(peaks[start:].sum()) + 0.5, count) / observed_s
    rates = survival * tail_rates[:, None]
    below = rng.standard_gamma(np.broadcast_to(peaks[:start], (count, start)))
    below /= np.maximum(state.exposure[:start], _LEAST_EXPOSURE_S)
    rates = np.concatenate([_running_sum(below) + rates[:, :1], rates], axis=1)
    return np.maximum(np.maximum(rates, background.reported_rates(config, state)), _LEAST_RATE)


def threshold_for(curve: RateCurve, budget: float) -> float:
    """The lowest probability at which false alarms are at most ``budget`` per second.

    A larger budget never gives a higher threshold. At most the probability of the highest level.
    """
    levels = background.levels()
    enough = np.flatnonzero(curve.rates <= budget)
    if not len(enough):
        return background.sigmoid(levels[-1])
    i = int(enough[0])
    if i == 0:
        return background.sigmoid(levels[0])
    above, below = math.log(curve.rates[i - 1]), math.log(curve.rates[i])
    share = (above - math.log(max(budget, _LEAST_RATE))) / (above - below)
    return background.sigmoid(levels[i - 1] + background.STEP * min(1.0, share))


def expected_per_day(curve: RateCurve, threshold: float) -> float:
    """The false alarms per day expected at a probability; the inverse of `threshold_for`."""
    logs = np.log(curve.rates)
    at = float(background.logit(threshold))
    return DAY_S * math.exp(float(np.interp(at, background.levels(), logs)))


def _count_peaks(state: BackgroundState) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The events that began above each level, those with their highest score in the bin above it,
    and their rate above it per second, each (COUNT,)."""
    # a higher level can have more starts: at a low threshold, all is one event
    starts = _running_max(state.starts)
    peaks = np.where(state.exposure >= _LEAST_EXPOSURE_S, starts - np.append(starts[1:], 0.0), 0.0)
    intensity = peaks / np.maximum(state.exposure, _LEAST_EXPOSURE_S)
    return starts, peaks, _running_sum(intensity)


def _running_max(rates: np.ndarray) -> np.ndarray:
    """Each value, or the highest one at a higher level."""
    return np.maximum.accumulate(rates[::-1])[::-1]


def _running_sum(rates: np.ndarray) -> np.ndarray:
    """The sum of each value and those at higher levels, (..., n)."""
    return np.cumsum(rates[..., ::-1], axis=-1)[..., ::-1]


def _tail_start(tail: TailConfig, starts: np.ndarray, counted: np.ndarray) -> int:
    """The index of the level at which the tail starts."""
    rare = min(tail.rate, tail.share * float(counted[0]))
    start = int(np.count_nonzero(counted > rare))
    enough = int(np.count_nonzero(starts >= tail.least_events))
    lowest = math.ceil((tail.lowest - background.LOWEST) / background.STEP - 1e-9)
    return max(0, lowest, min(start, enough - 1, background.COUNT - 1))


def _fit_tail(
    tail: TailConfig,
    peaks: np.ndarray,
    exposure: np.ndarray,
    start: int,
    shots: np.ndarray | None,
) -> tuple[TailFit, np.ndarray]:
    """The tail from level ``start`` on, and its rate at each level from there.

    ``peaks`` and ``exposure`` (n,): the events with their highest score in the bin above each of
    these levels, and the seconds in which it was observed.
    """
    events = float(peaks.sum())
    excess = tail.excesses(start)
    posterior = _tail_posterior(tail, excess, peaks, exposure, shots)
    shape, log_scale = map(float, posterior.weights @ posterior.points)
    scale = math.exp(log_scale)
    if shots is None:
        survival = _survival(excess, np.array([[shape]]), np.array([[scale]]))[0]
        rates = survival * events / max(float(_bins(survival) @ exposure), 1e-300)
    else:
        shapes, log_scales = np.split(posterior.points, 2, axis=1)
        survival = _survival(excess, shapes, np.exp(log_scales))
        bins = _bins(survival)
        _, false = _mix(bins, shots, peaks, exposure)
        rates = (posterior.weights * false / np.maximum(bins @ exposure, 1e-300)) @ survival
    at = background.LOWEST + background.STEP * start
    return TailFit(at, float(rates[0]), shape, scale, events), rates


class _TailPosterior(NamedTuple):
    """``points`` (m, 2): a grid of shapes and logarithms of scales, ``spacing`` (2,) apart.
    ``weights`` (m,): their probabilities."""

    points: np.ndarray
    weights: np.ndarray
    spacing: np.ndarray


def _tail_posterior(
    tail: TailConfig,
    excess: np.ndarray,
    peaks: np.ndarray,
    exposure: np.ndarray,
    shots: np.ndarray | None = None,
) -> _TailPosterior:
    """The posterior of the tail's shape and scale, from ``peaks``, ``exposure`` and ``shots`` as in
    `_fit_tail`."""
    low = np.array([-tail.shape_limit, math.log(tail.scale) - 3.0])
    high = np.array([tail.shape_limit, math.log(tail.scale) + 2.0])
    first, last = low, high
    posterior = _TailPosterior(np.zeros((0, 2)), np.zeros(0), np.zeros(2))
    for _ in range(_ROUNDS):
        spacing = (last - first) / (_NODES - 1)
        shape, log_scale = (
            axis.reshape(-1, 1)
            for axis in np.meshgrid(*np.linspace(first, last, _NODES).T, indexing="ij")
        )
        bins = _bins(_survival(excess, shape, np.exp(log_scale)))
        if shots is not None:
            bins, _ = _mix(bins, shots, peaks, exposure)
        weights = _posterior(tail, bins, peaks, exposure, shape, log_scale)
        posterior = _TailPosterior(np.concatenate([shape, log_scale], axis=1), weights, spacing)
        mean = weights @ posterior.points
        spread = np.sqrt(weights @ (posterior.points - mean) ** 2)
        width = np.maximum(3.0 * spread, 1.5 * spacing)
        first, last = np.maximum(low, mean - width), np.minimum(high, mean + width)
    return posterior


def _posterior(
    tail: TailConfig,
    bins: np.ndarray,
    peaks: np.ndarray,
    exposure: np.ndarray,
    shape: np.ndarray,
    log_scale: np.ndarray,
) -> np.ndarray:
    """The weights (m,) of (m, 1) shapes and scales, whose peaks have the probabilities ``bins``
    (m, n). The rate of all peaks is the most likely one for each."""
    seen = peaks > 0.0
    log_likelihood = np.log(np.maximum(bins[:, seen], 1e-300)) @ peaks[seen]
    log_likelihood -= float(peaks.sum()) * np.log(np.maximum(bins @ exposure, 1e-300))
    offset = (log_scale - math.log(tail.scale)) / tail.scale_sd
    log_posterior = log_likelihood - 0.5 * ((shape / tail.shape_sd) ** 2 + offset**2)[:, 0]
    weights = np.exp(log_posterior - log_posterior.max())
    return weights / weights.sum()


def _mix(
    bins: np.ndarray, shots: np.ndarray, peaks: np.ndarray, exposure: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities (m, n) of background peaks, mixed with the most likely share of shots; also
    returns how many of the peaks are background, (m,)."""
    seconds, shot_seconds = bins @ exposure, float(shots @ exposure)
    share = np.full((len(bins), 1), 0.5)
    background_peaks = np.zeros(len(bins))
    for _ in range(_MIXTURE_STEPS):
        part = share * bins
        mixed = part + (1.0 - share) * shots
        background_peaks = (part / np.maximum(mixed, 1e-300)) @ peaks
        rate = background_peaks / np.maximum(seconds, 1e-300)
        shot_rate = (float(peaks.sum()) - background_peaks) / max(shot_seconds, 1e-300)
        share = (rate / np.maximum(rate + shot_rate, 1e-300))[:, None]
    return share * bins + (1.0 - share) * shots, background_peaks


def _bins(survival: np.ndarray) -> np.ndarray:
    """The probability between each level and the next, the last one without end."""
    return survival - np.append(survival[..., 1:], np.zeros_like(survival[..., :1]), axis=-1)


def _survival(excess: np.ndarray, shape: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """The generalised Pareto survival function: (n,) excesses, (m, 1) shapes and scales to
    (m, n)."""
    z = excess / scale
    flat = np.abs(shape) < 1e-6
    safe = np.where(flat, 1.0, shape)
    curved = np.maximum(1.0 + safe * z, 0.0)
    with np.errstate(divide="ignore"):
        logs = np.where(flat, -z, -np.log(curved) / safe)
    return np.exp(np.where(np.isnan(logs), -np.inf, logs))
