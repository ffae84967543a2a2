"""A simulated city: 1,000 sensors, 10,000 impulsive sounds and 20 shots in an hour.

An impulsive sound is noticed up to 150 m away, with a low score mostly; a shot up to 600 m away.
Each sensor misses one in ten. Arrivals are late by up to 60 ms where buildings are in the way, and
off by 10 ms otherwise.
"""

from __future__ import annotations

import math
import resource
import time
from typing import Any

import numpy as np

from benchmarks.measure import ONE_CORE, print_json, round_digits
from streamdet.locate.geometry import distances
from streamdet.locate.incidents import Arrival, Incident, LocateConfig, find_incidents

SENSORS, SOUNDS, SHOTS, HOUR_S = 1_000, 10_000, 20, 3_600.0
SPACING_M, SOUND_RANGE_M, SHOT_RANGE_M = 250.0, 150.0, 600.0
MISSED, DETOUR_S, SIGMA_S = 0.1, 0.06, 0.01
NEAR_M, NEAR_S = 50.0, 0.3
CORES, ENVIRONMENT = 1, ONE_CORE


def place_sensors(rng: np.random.Generator) -> np.ndarray:
    """Sensors on a grid, each off by up to a third of its spacing: (n, 3) metres."""
    side = math.ceil(math.sqrt(SENSORS))
    grid = np.stack(np.meshgrid(*[np.arange(side)] * 2, indexing="ij"), axis=-1).reshape(-1, 2)
    places = (grid[:SENSORS] + rng.uniform(-0.33, 0.33, (SENSORS, 2))) * SPACING_M
    return np.concatenate([places, rng.uniform(4.0, 12.0, (SENSORS, 1))], axis=1)


def simulate_arrivals(
    rng: np.random.Generator,
    sensors: np.ndarray,
    count: int,
    range_m: float,
    scores: tuple[float, float],
    speed: float,
) -> tuple[np.ndarray, np.ndarray, list[Arrival]]:
    """Sounds at random places and times: places (count, 3), times (count,), and their arrivals.
    ``scores``: the parameters of a beta distribution."""
    size = sensors[:, :2].max(axis=0)
    places = np.concatenate([rng.uniform(0.0, size, (count, 2)), np.full((count, 1), 8.0)], axis=1)
    times, arrivals = rng.uniform(0.0, HOUR_S, count), []
    for place, at_s in zip(places, times, strict=True):
        far = distances(sensors, place[None])[0]
        for i in np.flatnonzero((far <= range_m) & (rng.random(len(far)) >= MISSED)):
            late = rng.exponential(DETOUR_S / 3.0) if rng.random() < 0.3 else 0.0
            off = min(late, DETOUR_S) + rng.normal(0.0, SIGMA_S)
            score = float(rng.beta(*scores))
            arrivals.append(Arrival(int(i), float(at_s + far[i] / speed + off), 0.003, score))
    return places, times, [a for a in arrivals if a.score >= 0.02]


def count_matches(
    incidents: list[Incident], places: np.ndarray, times: np.ndarray
) -> tuple[set[int], list[float], int]:
    """The shots that were found, the errors of their places in metres, and how many incidents
    belong to none."""
    found, errors, false = set[int](), [], 0
    for incident in incidents:
        fix = incident.fix
        off_m = np.hypot(places[:, 0] - fix.x_m, places[:, 1] - fix.y_m)
        matches = np.flatnonzero((off_m <= NEAR_M) & (np.abs(times - fix.time_s) <= NEAR_S))
        if len(matches):
            found.add(int(matches[0]))
            errors.append(float(off_m[matches[0]]))
        else:
            false += 1
    return found, errors, false


def main() -> None:
    """Print the results as JSON."""
    rng = np.random.default_rng(1)
    config = LocateConfig()
    sensors = place_sensors(rng)
    *_, noise = simulate_arrivals(rng, sensors, SOUNDS, SOUND_RANGE_M, (0.5, 3.0), config.speed)
    places, times, shots = simulate_arrivals(
        rng, sensors, SHOTS, SHOT_RANGE_M, (4.0, 1.0), config.speed
    )
    began = time.perf_counter()
    incidents = find_incidents(config, sensors, [*noise, *shots])
    spent_s = time.perf_counter() - began
    found, errors, false = count_matches(incidents, places, times)
    result: dict[str, Any] = {
        "sensors": SENSORS,
        "arrivals": len(noise) + len(shots),
        "shots": SHOTS,
        "found": len(found),
        "median_error_m": round_digits(float(np.median(errors)) if errors else math.nan, 3),
        "false_incidents": false,
        "seconds": round_digits(spent_s, 3),
        "peak_mb": round_digits(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1_024, 3),
    }
    print_json(result)


if __name__ == "__main__":
    main()
