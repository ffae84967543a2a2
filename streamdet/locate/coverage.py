"""Where sensors can locate shots, and how well, before there are any recordings."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from streamdet.locate.geometry import distances
from streamdet.locate.multilateration import CHI2_95, solve

NEED = 3
_MOST_POINTS = 40_000


class Coverage(NamedTuple):
    """``points`` (m, 3) in metres, ``step_m`` apart; ``shape`` (columns, rows) of their grid, x
    first. ``sensors`` (m,): how many are in range. ``error_m`` (m,): the larger half axis of the
    expected 95 % ellipse, infinity where fewer than three sensors are in range or they are on one
    line with the point."""

    points: np.ndarray
    step_m: float
    shape: tuple[int, int]
    sensors: np.ndarray
    error_m: np.ndarray


def estimate_coverage(
    positions: np.ndarray, sigma_s: float, speed: float, range_m: float, step_m: float
) -> Coverage:
    """The expected error on a grid over all places in range of a sensor.

    ``positions`` (n, 3) in metres. ``sigma_s`` is the standard deviation of an arrival time. The
    grid is coarser than ``step_m`` where it would have too many points.
    """
    low, high = positions[:, :2].min(axis=0) - range_m, positions[:, :2].max(axis=0) + range_m
    step = max(step_m, float(np.sqrt(np.prod(high - low) / _MOST_POINTS)))
    x, y = (np.arange(a, b + step, step) for a, b in zip(low, high, strict=True))
    grid = np.stack(np.meshgrid(x, y, indexing="ij"), axis=-1).reshape(-1, 2)
    points = np.concatenate([grid, np.full((len(grid), 1), positions[:, 2].mean())], axis=1)
    sensors, errors = expected_errors(positions, points, sigma_s, speed, range_m)
    return Coverage(points, step, (len(x), len(y)), sensors, errors)


def expected_errors(
    positions: np.ndarray, points: np.ndarray, sigma_s: float, speed: float, range_m: float
) -> tuple[np.ndarray, np.ndarray]:
    """The number of sensors in range of each of ``(m, 3)`` points, (m,), and the larger half axis
    of the 95 % ellipse there in metres, (m,).

    The covariance is the Cramér-Rao bound of place and time: the inverse of the Fisher information
    of independent normal arrival times (Kay, *Estimation Theory*, 1993, section 3.7).
    """
    far = np.maximum(distances(positions, points), 1e-6)
    near = far <= range_m
    slopes = (points[:, None] - positions[None])[..., :2] / far[..., None] / speed
    jacobian = np.concatenate([slopes, np.ones((*far.shape, 1))], axis=2) * near[..., None]
    information = np.einsum("mni,mnj->mij", jacobian, jacobian) / sigma_s**2
    counts, errors = near.sum(axis=1), np.full(len(points), np.inf)
    # without the unknown time, in units in which all entries are alike
    place = information[:, :2, :2] - (
        information[:, :2, 2:] @ information[:, 2:, :2] / np.maximum(information[:, 2:, 2:], 1e-30)
    )
    least = np.linalg.eigvalsh(place)[:, 0]
    good = (counts >= NEED) & (least > 1e-6 / sigma_s**2 / speed**2)
    errors[good] = np.sqrt(CHI2_95 / least[good])
    return counts, errors


def simulate_error(
    positions: np.ndarray,
    point: np.ndarray,
    sigma_s: float,
    speed: float,
    range_m: float,
    trials: int,
    seed: int = 0,
) -> float:
    """The 95th percentile of the error in metres in ``trials`` simulated shots at a point (3,), for
    comparison with the bound. Infinity if fewer than three sensors are in range."""
    rng = np.random.default_rng(seed)
    travel = distances(positions, point[None])[0]
    near = travel <= range_m
    if near.sum() < NEED:
        return float("inf")
    where, times = positions[near], travel[near] / speed
    errors = []
    for _ in range(trials):
        arrivals = times + rng.normal(0.0, sigma_s, len(times))
        start = point[None, :2] + rng.normal(0.0, 20.0, (1, 2))
        sigmas = np.full(len(times), sigma_s)
        fix = solve(where, arrivals, sigmas, speed, start, float(point[2]))
        errors.append(np.hypot(fix.x_m - point[0], fix.y_m - point[1]))
    return float(np.quantile(errors, 0.95))
