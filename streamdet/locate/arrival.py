"""The time at which a shot arrives, to a fraction of a frame.

The onset of the decision is exact to about a frame of 10 ms. The picker divides the samples around
it into noise and signal where the Akaike information criterion of two autoregressive models of
order 0 is least (Maeda, *A method for reading and checking phase time in auto-processing system of
seismic wave data*, Zisin 38, 1985):

    AIC(k) = k log var(x[:k]) + (n - k - 1) log var(x[k:])

The weights exp((least - AIC) / 2) of all k give the uncertainty (Burnham & Anderson, *Model
Selection and Multimodel Inference*, 2002, section 2.9).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

BEFORE_S, AFTER_S = 0.08, 0.03
"""The span around an onset that the picker sees. Echoes follow the direct path; the span ends soon
after the onset, so that a louder echo does not win."""
_LEAST_SIGMA_S = 0.001
_LEAST_VARIANCE = 1e-14
_HIGH_PASS_HZ = 300.0


class Pick(NamedTuple):
    """An arrival time in seconds since the first sample, and its standard deviation."""

    time_s: float
    sigma_s: float


def pick_arrival(samples: np.ndarray, rate: int, onset_s: float) -> Pick:
    """Find the arrival near an onset in ``(n,) float32`` samples.

    ``onset_s`` is in seconds since the first sample. Where the span has no sound the onset stands,
    with the length of the span as uncertainty.
    """
    first = max(0, round((onset_s - BEFORE_S) * rate))
    last = min(len(samples), round((onset_s + AFTER_S) * rate))
    span = _high_pass(np.asarray(samples[max(0, first - rate // 50) : last], np.float64), rate)
    span = span[len(span) - max(0, last - first) :]
    if len(span) < 8 or not np.any(span):
        return Pick(onset_s, BEFORE_S)
    criterion = _criterion(span)
    weights = np.exp(-0.5 * (criterion - criterion.min()))
    weights /= weights.sum()
    at = np.arange(1, len(span) - 1) / rate
    best = float(at[int(criterion.argmin())])
    sigma = float(np.sqrt(weights @ (at - best) ** 2))
    return Pick(first / rate + best, max(sigma, _LEAST_SIGMA_S))


def _criterion(x: np.ndarray) -> np.ndarray:
    """AIC(k) for k from 1 to n - 2."""
    n, k = len(x), np.arange(1, len(x) - 1)
    sums, squares = np.cumsum(x), np.cumsum(x * x)
    noise = squares[k - 1] / k - (sums[k - 1] / k) ** 2
    rest = n - k
    signal = (squares[-1] - squares[k - 1]) / rest - ((sums[-1] - sums[k - 1]) / rest) ** 2
    logs = (np.log(np.maximum(v, _LEAST_VARIANCE)) for v in (noise, signal))
    return k * next(logs) + (rest - 1) * next(logs)


def _high_pass(x: np.ndarray, rate: int) -> np.ndarray:
    """Remove wind and traffic: the difference to a moving mean, which has no phase shift."""
    width = max(1, round(rate / (2.0 * _HIGH_PASS_HZ)))
    return x - np.convolve(x, np.full(width, 1.0 / width), mode="same")
