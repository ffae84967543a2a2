"""Live-fire tests of city sensors: ShotSpotter/research.accuracy-of-gunshot-location on GitHub.

Layout: ``data/<city>/<firing position>/test_<n>/`` with, for each sensor, ``*.audio.<serial>.wav``
(12 kHz) and a JSON file with the time of its first sample. ``*.allpulses.json`` has the arrival
times of pulses, ``*.nlos-tuples.json`` those that belong to each shot. The licence is CC BY 4.0
(Tech Note 098). A recording without a shot that its sensor reported is left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from train.data.importers.clip import SourceClip, find_split, read_metadata_json
from train.errors import TrainError

SOURCE = "ShotSpotter/research.accuracy-of-gunshot-location"
SPLITS = {
    **{f"FP{i}": "train" for i in range(1, 6)},
    "FP6": "val",
    **{f"FP{i}": "test" for i in range(7, 10)},
}
"""Firing positions are the set's only unit; it has no splits of its own."""


def list_clips(folder: Path) -> Iterator[SourceClip]:
    """Yield the recordings of all tests; raises TrainError if there are none or JSON is missing."""
    surveys = sorted(folder.rglob("test_*.survey.json"))
    if not surveys:
        raise TrainError(f"{folder}: no test_*.survey.json below it. Give a clone of {SOURCE}.")
    for survey in surveys:
        try:
            yield from _list_test(survey)
        except (KeyError, TypeError) as error:
            raise TrainError(f"{survey.parent}: a JSON file lacks {error}") from error


def _list_test(survey: Path) -> Iterator[SourceClip]:
    test = survey.name.removesuffix(".survey.json")
    position = read_metadata_json(survey)["firing_position"]
    pulses = read_metadata_json(survey.with_name(f"{test}.allpulses.json"))
    shots = read_metadata_json(survey.with_name(f"{test}.nlos-tuples.json"))
    fired = {uuid for shot in shots for uuid in shot["pulse_uuids"]}
    for about in sorted(survey.parent.glob(f"{test}.audio.*.json")):
        sensor = read_metadata_json(about)
        start = _parse_time(sensor["timestamp"], about)
        arrivals = sorted(
            (_parse_time(pulse["arrival_time_utc"], about) - start).total_seconds()
            for pulse in pulses
            if pulse["pulse_uuid"] in fired and pulse["serial_number"] == sensor["serial_number"]
        )
        if arrivals:
            yield SourceClip(
                file=about.with_suffix(".wav"),
                name=f"pgh-{position}-{test}-{sensor['serial_number']}",
                classes=("handgun",),
                split=find_split(SPLITS, position, survey),
                source=SOURCE,
                group=f"pgh:{position}",
                licence="CC-BY-4.0",
                arrivals=tuple(arrivals),
                trim=True,
            )


def _parse_time(text: str, path: Path) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError as error:
        raise TrainError(f"{path}: not a time: {text!r}") from error
