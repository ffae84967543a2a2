"""Arrivals of many sensors to incidents: which arrivals belong to one shot, and where it was.

Every place of a grid, with every arrival as reference, implies a time of the shot. The place where
most sensors have an arrival at the implied time wins (source scanning: Kao & Shan, *Geophysical
Journal International* 157, 2004). Its arrivals are refined by least squares, and those that do not
fit are dropped. They are then taken away, with the later shots of a burst and the echoes at the
same sensors, and what is left is scanned again.

Two arrivals can be of one shot only if they are no further apart than sound travels between the
sensors, so arrivals fall into groups that are scanned on their own.

All functions are pure. Times are seconds on a clock that all sensors share.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from streamdet.locate.geometry import distances
from streamdet.locate.multilateration import Fix, solve

_MOST_PLACES = 20_000
_STARTS = 4


@dataclass(frozen=True)
class LocateConfig:
    """``speed`` of sound in metres per second. ``height_m``: of shots; None for the mean of the
    sensors'.

    ``range_m``: how far a shot is noticed. The grid has places ``grid_m`` apart, up to
    ``margin_m`` outside the sensors of a group. An arrival fits a place within ``tolerance_s``.
    ``path_sigma_s`` is the standard deviation of travel times from wind, temperature and corners;
    it is added to that of each arrival.

    In the end, no arrival may be more than ``most_sigmas`` standard deviations off.

    A shot needs ``need`` sensors, and the scores of its arrivals, taken as independent
    probabilities, must give a probability of ``least_probability`` together: no single one needs to
    be high if several agree. Further arrivals at a sensor count as echoes for ``echo_s``, and as
    later shots of the burst for ``burst_s`` if they fit the place.
    """

    speed: float = 331.3
    height_m: float | None = None
    range_m: float = 1_000.0
    grid_m: float = 10.0
    margin_m: float = 400.0
    tolerance_s: float = 0.04
    path_sigma_s: float = 0.02
    most_sigmas: float = 3.0
    need: int = 3
    least_probability: float = 0.9
    echo_s: float = 0.8
    burst_s: float = 10.0


class Arrival(NamedTuple):
    """A possible shot at a sensor: the sensor's index, when it arrived with its standard deviation,
    and the score."""

    sensor: int
    time_s: float
    sigma_s: float
    score: float


class Incident(NamedTuple):
    """A located shot or burst. ``arrivals`` are those that the fix is made of, one a sensor;
    ``later`` are those of its echoes and later shots."""

    fix: Fix
    arrivals: tuple[Arrival, ...]
    later: tuple[Arrival, ...]


def find_incidents(
    config: LocateConfig, positions: np.ndarray, arrivals: Sequence[Arrival]
) -> list[Incident]:
    """All incidents among the arrivals at sensors with ``(n, 3)`` positions in metres, by time."""
    found = []
    for group in _group(config, positions, arrivals):
        left = group
        while (incident := _find_one(config, positions, left)) is not None:
            found.append(incident)
            taken = {*incident.arrivals, *incident.later}
            left = [arrival for arrival in left if arrival not in taken]
    return sorted(found, key=lambda incident: incident.fix.time_s)


def _group(
    config: LocateConfig, positions: np.ndarray, arrivals: Sequence[Arrival]
) -> Iterator[list[Arrival]]:
    """Arrivals that may be of one shot, directly or through others."""
    ordered = sorted(arrivals, key=lambda arrival: arrival.time_s)
    between = distances(positions, positions)
    gate_s = between / config.speed + config.tolerance_s
    near = between <= 2.0 * config.range_m
    longest_s = 2.0 * config.range_m / config.speed + config.tolerance_s
    names, first = list(range(len(ordered))), 0

    def root(i: int) -> int:
        while names[i] != i:
            names[i] = names[names[i]]
            i = names[i]
        return i

    for i, arrival in enumerate(ordered):
        while arrival.time_s - ordered[first].time_s > longest_s:
            first += 1
        for j in range(first, i):
            other = ordered[j]
            if near[arrival.sensor, other.sensor] and (
                arrival.time_s - other.time_s <= gate_s[arrival.sensor, other.sensor]
            ):
                names[root(i)] = root(j)
    groups: dict[int, list[Arrival]] = {}
    for i, arrival in enumerate(ordered):
        groups.setdefault(root(i), []).append(arrival)
    yield from groups.values()


def _find_one(
    config: LocateConfig, positions: np.ndarray, arrivals: list[Arrival]
) -> Incident | None:
    """The shot that most sensors agree on."""
    if not _is_enough(config, arrivals):
        return None
    places = _make_grid(config, positions[[a.sensor for a in arrivals]])
    support, implied_s = _scan(config, positions, arrivals, places)
    best = int(support.argmax())
    chosen = _choose_arrivals(config, positions, arrivals, places[best], implied_s[best])
    located = _fit(config, positions, chosen, _find_starts(places, support))
    if located is None:
        return None
    fix, used = located
    return Incident(fix, used, _find_later(config, positions, arrivals, fix, used))


def _is_enough(config: LocateConfig, arrivals: Sequence[Arrival]) -> bool:
    """Whether enough sensors have arrivals, and these high enough scores together."""
    best: dict[int, float] = {}
    for arrival in arrivals:
        best[arrival.sensor] = max(arrival.score, best.get(arrival.sensor, 0.0))
    none_is_a_shot = math.prod(1.0 - score for score in best.values())
    return len(best) >= config.need and 1.0 - none_is_a_shot >= config.least_probability


def _make_grid(config: LocateConfig, positions: np.ndarray) -> np.ndarray:
    """Places around the positions, (m, 3); coarser where there would be too many."""
    low = positions[:, :2].min(axis=0) - config.margin_m
    high = positions[:, :2].max(axis=0) + config.margin_m
    step = max(config.grid_m, float(np.sqrt(np.prod(high - low) / _MOST_PLACES)))
    axes = (np.arange(a, b + step, step) for a, b in zip(low, high, strict=True))
    x, y = np.meshgrid(*axes, indexing="ij")
    height = float(positions[:, 2].mean()) if config.height_m is None else config.height_m
    return np.stack([x.ravel(), y.ravel(), np.full(x.size, height)], axis=1)


def _scan(
    config: LocateConfig, positions: np.ndarray, arrivals: list[Arrival], places: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """For each place, how many sensors agree, (m,), and the time of the shot that they imply."""
    sensors = np.array([a.sensor for a in arrivals])
    travel_s = distances(positions[sensors], places) / config.speed
    shot_s = np.array([a.time_s for a in arrivals]) - travel_s
    known = list(dict.fromkeys(sensors.tolist()))
    support, implied_s = np.full(len(places), -1.0), np.zeros(len(places))
    for reference in range(len(arrivals)):
        fits = np.exp(-0.5 * ((shot_s - shot_s[:, [reference]]) / config.tolerance_s) ** 2)
        votes = np.sum([fits[:, sensors == sensor].max(axis=1) for sensor in known], axis=0)
        better = votes > support
        support[better] = votes[better]
        implied_s[better] = shot_s[better, reference]
    return support, implied_s


def _choose_arrivals(
    config: LocateConfig,
    positions: np.ndarray,
    arrivals: list[Arrival],
    place: np.ndarray,
    shot_s: float,
) -> list[Arrival]:
    """The arrival of each sensor that is closest to the expected time, if it is close enough."""
    travel_s = distances(positions, place[None])[0] / config.speed
    closest: dict[int, tuple[float, Arrival]] = {}
    for arrival in arrivals:
        off_s = abs(arrival.time_s - shot_s - travel_s[arrival.sensor])
        if off_s <= 3.0 * config.tolerance_s:
            kept = closest.get(arrival.sensor)
            if kept is None or off_s < kept[0]:
                closest[arrival.sensor] = off_s, arrival
    return [arrival for _, arrival in closest.values()]


def _find_starts(places: np.ndarray, support: np.ndarray) -> np.ndarray:
    """The best places of the grid that are well apart, (s, 2)."""
    starts: list[np.ndarray] = []
    for i in np.argsort(support)[::-1]:
        if support[i] < 0.8 * support.max() or len(starts) == _STARTS:
            break
        if all(np.linalg.norm(places[i, :2] - other) > 50.0 for other in starts):
            starts.append(places[i, :2])
    return np.array(starts)


def _fit(
    config: LocateConfig, positions: np.ndarray, arrivals: list[Arrival], starts: np.ndarray
) -> tuple[Fix, tuple[Arrival, ...]] | None:
    """Locate a shot. While an arrival does not fit, the one without which the others fit best is
    dropped. None if too few are left."""
    fix = _solve(config, positions, arrivals, starts)
    while fix is not None and _misfit(config, arrivals, fix) > config.most_sigmas:
        fewer = [[*arrivals[:i], *arrivals[i + 1 :]] for i in range(len(arrivals))]
        tried = [(_solve(config, positions, subset, starts), subset) for subset in fewer]
        solved = [(other, subset) for other, subset in tried if other is not None]
        if not solved:
            return None
        fix, arrivals = min(solved, key=lambda pair: pair[0].cost)
    if fix is None or not _is_enough(config, arrivals):
        return None
    return fix, tuple(arrivals)


def _solve(
    config: LocateConfig, positions: np.ndarray, arrivals: list[Arrival], starts: np.ndarray
) -> Fix | None:
    if len(arrivals) < config.need:
        return None
    where = positions[[a.sensor for a in arrivals]]
    times = np.array([a.time_s for a in arrivals])
    sigmas = _sigmas(config, arrivals)
    try:
        return solve(where, times, sigmas, config.speed, starts, config.height_m)
    except ValueError:
        return None


def _sigmas(config: LocateConfig, arrivals: list[Arrival]) -> np.ndarray:
    return np.hypot([a.sigma_s for a in arrivals], config.path_sigma_s)


def _misfit(config: LocateConfig, arrivals: list[Arrival], fix: Fix) -> float:
    """The largest residual in standard deviations."""
    return float(np.abs(fix.residuals_s / _sigmas(config, arrivals)).max())


def _find_later(
    config: LocateConfig,
    positions: np.ndarray,
    arrivals: list[Arrival],
    fix: Fix,
    used: tuple[Arrival, ...],
) -> tuple[Arrival, ...]:
    """Echoes of the shot, and later shots of the burst from the same place."""
    own_s = {arrival.sensor: arrival.time_s for arrival in used}
    height = float(positions[:, 2].mean()) if config.height_m is None else config.height_m
    place = np.array([[fix.x_m, fix.y_m, height]])
    travel_s = distances(positions, place)[0] / config.speed
    rest = [a for a in arrivals if a not in used]
    shots_s = [(a.sensor, a.time_s - travel_s[a.sensor]) for a in rest]
    later = []
    for arrival, (sensor, shot_s) in zip(rest, shots_s, strict=True):
        after_s = arrival.time_s - own_s.get(sensor, np.inf)
        agrees = any(
            other != sensor and abs(shot_s - time_s) <= config.tolerance_s
            for other, time_s in shots_s
        )
        in_burst = agrees and abs(shot_s - fix.time_s) <= config.burst_s
        if 0.0 <= after_s <= config.echo_s or in_burst:
            later.append(arrival)
    return tuple(later)
