"""Places of real live-fire tests from the recordings of city sensors, without the published times.

Every event from a score of 0.02 on counts as an arrival. The recordings are those of
../shared/locate. The rows by number of recordings include the tests that the detector was trained
on (FP1 to FP5).
"""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from benchmarks.measure import ONE_CORE, ROOT, print_json, round_digits
from streamdet.detection.decision import DecisionConfig
from streamdet.locate.geometry import speed_of_sound
from streamdet.locate.incidents import Arrival, Incident, LocateConfig, find_incidents
from streamdet.locate.sensors import Recording, Site, read_sites
from streamdet.model import bundle
from streamdet.pipeline import engine_choice
from streamdet.pipeline.arrivals import find_arrivals
from streamdet.pipeline.files import FilePipeline
from streamdet.pipeline.platform import Platform

FOLDER = ROOT.parent / "shared" / "locate"
THRESHOLD = 0.02
SPLITS = {"FP6": "val", "FP9": "test"}
CORES, ENVIRONMENT = 1, ONE_CORE


class LiveFire(NamedTuple):
    """A test: its sensors, where the shots were, the air temperature, and the firing position."""

    site: Site
    place: np.ndarray
    temperature_c: float
    position: str


class Outcome(NamedTuple):
    """What was found in a test: the number of recordings, the incidents, the error of the best one
    in metres, and whether its ellipse holds the place."""

    recordings: int
    incidents: list[Incident]
    error_m: float
    inside: bool


def read_tests() -> list[LiveFire]:
    """All tests of the folder."""
    sites = read_sites(FOLDER / "sensors.csv")
    with (FOLDER / "tests.csv").open() as source:
        return [
            LiveFire(
                sites[row["test"]],
                np.array([float(row["x_m"]), float(row["y_m"])]),
                float(row["temperature_c"]),
                row["firing_position"],
            )
            for row in csv.DictReader(source)
        ]


class ArrivalFinder:
    """Finds arrivals in recordings with the default detector."""

    def __init__(self) -> None:
        model = bundle.load()
        engine = engine_choice.file_engine(model, Platform.numpy)
        scorer = engine_choice.scorer_for(model, engine)
        self._pipeline = FilePipeline(engine, DecisionConfig(THRESHOLD), "mix", scorer, None)

    def find(self, recording: Recording, sensor: int) -> list[Arrival]:
        """The arrivals of one recording."""
        found, fault = find_arrivals(self._pipeline, recording.path, sensor, recording.start_s)
        if fault is not None:
            raise fault
        return found


def locate(test: LiveFire, arrivals: list[list[Arrival]]) -> Outcome:
    """Locate the shots of a test from the arrivals of each recording."""
    config = LocateConfig(speed=speed_of_sound(test.temperature_c))
    positions = np.array([test.site.positions[r.sensor] for r in test.site.recordings])
    incidents = find_incidents(config, positions, [a for each in arrivals for a in each])
    if not incidents:
        return Outcome(len(positions), [], math.inf, inside=False)
    fix = max(incidents, key=lambda incident: len(incident.arrivals)).fix
    off = test.place - [fix.x_m, fix.y_m]
    inside = bool(off @ np.linalg.solve(fix.covariance, off) <= 5.991)
    return Outcome(len(positions), incidents, float(np.hypot(*off)), inside)


def summarise_outcomes(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """The figures of a table's row."""
    errors = np.array([o.error_m for o in outcomes])
    sensors = [max((len(i.arrivals) for i in o.incidents), default=0) for o in outcomes]
    located = [o for o in outcomes if o.incidents]
    return {
        "tests": len(outcomes),
        "three_sensors_agree": round_digits(float(np.mean([n >= 3 for n in sensors])), 3),
        "within_15_m": round_digits(float(np.mean(errors <= 15.0)), 3),
        "within_25_m": round_digits(float(np.mean(errors <= 25.0)), 3),
        "median_m": round_digits(float(np.median(errors)), 3),
        "inside_ellipse": round_digits(float(np.mean([o.inside for o in located])), 3),
        "several_incidents": sum(len(o.incidents) > 1 for o in outcomes),
    }


def main() -> None:
    """Print the results as JSON."""
    if not FOLDER.is_dir():
        print_json({"missing": "no recordings of live-fire tests in ../shared/locate"})
        return
    finder, tests = ArrivalFinder(), read_tests()
    found = [[finder.find(r, i) for i, r in enumerate(t.site.recordings)] for t in tests]
    outcomes = [locate(test, arrivals) for test, arrivals in zip(tests, found, strict=True)]
    rows = {"all": outcomes}
    for least, most in ((3, 3), (4, 4), (5, 6), (4, 6)):
        name = f"{least} sensors" if least == most else f"{least} to {most} sensors"
        rows[name] = [o for o in outcomes if least <= o.recordings <= most]
    for position, split in SPLITS.items():
        name = f"{position} ({split})"
        rows[name] = [o for o, t in zip(outcomes, tests, strict=True) if t.position == position]
    print_json({name: summarise_outcomes(row) for name, row in rows.items()})


if __name__ == "__main__":
    main()
