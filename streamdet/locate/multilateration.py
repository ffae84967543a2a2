"""A position from arrival times: nonlinear least squares with a robust loss.

The unknowns are the place (x, y) at a given height and the time of the shot. The residual of a
sensor is the arrival time minus shot time and travel time, in units of its standard deviation
(Foy, *Position-Location Solutions by Taylor-Series Estimation*, IEEE Trans. AES 12, 1976). The
covariance is that of the linearised problem at the solution.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from streamdet.locate.geometry import distances

CHI2_95 = 5.991464547107979
"""The 95 % quantile of the chi-squared distribution with 2 degrees of freedom."""
_LOSS_SCALE = 1.5
"""Residuals beyond this many standard deviations count linearly, not squared."""
_SAME_PLACE_M = 10.0


class Ellipse(NamedTuple):
    """Half axes in metres, and the direction of the major one in degrees from x to y."""

    major_m: float
    minor_m: float
    angle_deg: float


class Fix(NamedTuple):
    """A located shot. ``time_s`` is when it was fired, on the sensors' clock.

    ``covariance`` (2, 2) is in square metres, and ``residuals_s`` (n,) the arrival time of each
    sensor minus the expected one. ``cost`` is half the sum of the robust losses. ``others`` are
    further places that fit nearly as well: mirror images, for instance.
    """

    x_m: float
    y_m: float
    time_s: float
    covariance: np.ndarray
    residuals_s: np.ndarray
    cost: float
    others: tuple[tuple[float, float], ...] = ()

    @property
    def ellipse(self) -> Ellipse:
        """The ellipse that holds the true place with a probability of 95 %."""
        values, vectors = np.linalg.eigh(self.covariance)
        minor, major = (math.sqrt(max(0.0, v) * CHI2_95) for v in values)
        angle = math.degrees(math.atan2(vectors[1, 1], vectors[0, 1])) % 180.0
        return Ellipse(major, minor, angle)


def solve(
    positions: np.ndarray,
    times_s: np.ndarray,
    sigmas_s: np.ndarray,
    speed: float,
    starts: np.ndarray,
    height_m: float | None = None,
) -> Fix:
    """Locate a shot from its ``(n,)`` arrival times at ``(n, 3)`` positions in metres, n >= 3.

    ``starts`` (m, 2): places to begin from. ``height_m``: the height of the shot, the mean of the
    sensors' by default. Raises ValueError for fewer than three sensors, or positions on one line
    or at one place, which leave the place undetermined.
    """
    from scipy.optimize import least_squares

    check_geometry(positions)
    height = float(positions[:, 2].mean()) if height_m is None else height_m
    first = float(times_s.min())

    def residuals(unknown: np.ndarray) -> np.ndarray:
        point = np.array([[unknown[0], unknown[1], height]])
        travel = distances(positions, point)[0] / speed
        return (times_s - first - unknown[2] - travel) / sigmas_s

    fixes: list[Fix] = []
    for x, y in starts:
        point = np.array([[x, y, height]])
        begin = float(np.median(times_s - first - distances(positions, point)[0] / speed))
        found = least_squares(
            residuals, [x, y, begin], loss="soft_l1", f_scale=_LOSS_SCALE,
            x_scale=[10.0, 10.0, 10.0 / speed], max_nfev=100,
        )  # fmt: skip
        covariance = _covariance(found.jac)
        misfit = residuals(found.x) * sigmas_s
        x_m, y_m, after_s = map(float, found.x)
        fixes.append(Fix(x_m, y_m, first + after_s, covariance, misfit, float(found.cost)))
    return _choose(fixes)


def _choose(fixes: list[Fix]) -> Fix:
    """The best fix, with the other places whose cost is less than 2 higher: a likelihood ratio of
    e squared."""
    fixes = sorted(fixes, key=lambda fix: fix.cost)
    best, others = fixes[0], list[tuple[float, float]]()
    for fix in fixes[1:]:
        known = [(best.x_m, best.y_m), *others]
        apart = min(math.hypot(fix.x_m - x, fix.y_m - y) for x, y in known)
        if fix.cost < best.cost + 2.0 and apart > _SAME_PLACE_M:
            others.append((fix.x_m, fix.y_m))
    return best._replace(others=tuple(others))


def _covariance(jacobian: np.ndarray) -> np.ndarray:
    """The covariance of the place, from the information about place and time."""
    return np.linalg.pinv(jacobian.T @ jacobian)[:2, :2]


def check_geometry(positions: np.ndarray) -> None:
    """Raise ValueError if ``(n, 3)`` positions can't locate a shot: fewer than three, or on one
    line, where each place has a mirror image that fits as well."""
    if len(positions) < 3:
        raise ValueError(f"{len(positions)} sensors can't locate a shot; three can")
    flat = positions[:, :2] - positions[:, :2].mean(axis=0)
    sizes = np.linalg.svd(flat, compute_uv=False)
    if sizes[1] < 1e-3 * max(sizes[0], 1.0):
        raise ValueError("the sensors are on one line: a shot could be on either side of it")
