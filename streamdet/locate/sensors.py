"""The sensors of a site and their recordings, from a CSV file.

Columns: ``sensor``, its position as ``x_m``, ``y_m`` and optionally ``z_m``, or as ``lat``, ``lon``
and optionally ``height_m``, and for recordings ``path`` (relative to the file) and ``start_utc``
(ISO 8601). An optional ``test`` separates recordings that have nothing to do with each other. Other
columns are ignored.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from streamdet.detection.event import parse_utc
from streamdet.locate.geometry import GeoPosition, to_local

_LOCAL, _GEO = ("x_m", "y_m"), ("lat", "lon")
_SAME_POSITION_M, _FARTHEST_M = 1.0, 50_000.0


class SensorError(ValueError):
    """A file of sensors can't be used; the message is one line: where, what is wrong."""


class Recording(NamedTuple):
    """A recording of a sensor. ``start_s`` is the UTC time of its first sample in seconds since
    1970."""

    sensor: str
    path: Path
    start_s: float


class Site(NamedTuple):
    """``positions``: metres east, north and up of each sensor, (3,) float64. ``origin`` is where
    they count from, None if the file has local coordinates."""

    positions: dict[str, np.ndarray]
    origin: GeoPosition | None
    recordings: list[Recording]


def read_sites(path: Path, *, recordings: bool = True) -> dict[str, Site]:
    """Read sensors, and their ``recordings`` if there are any, by test. Without a column ``test``
    there is one site, whose key is empty.

    Raises SensorError, also for a sensor with two positions in one test, for two sensors at one
    position, and for those too far from the first one.
    """
    rows = _read_rows(path)
    header = set(rows[0][1])
    geo = set(_GEO) <= header
    if not geo and not set(_LOCAL) <= header:
        raise SensorError(f"{path}: needs the columns x_m and y_m, or lat and lon")
    if "sensor" not in header:
        raise SensorError(f"{path}: needs the column sensor")
    if recordings and "path" in header and "start_utc" not in header:
        raise SensorError(f"{path}: needs the column start_utc for the recordings")
    origin = _geo_position(path, *rows[0]) if geo else None
    sites: dict[str, Site] = {}
    for line, row in rows:
        name = row["sensor"].strip()
        if not name:
            raise SensorError(f"{path} line {line}: the sensor has no name")
        site = sites.setdefault(row.get("test", ""), Site({}, origin, []))
        position = _position(path, line, row, origin)
        _check_position(path, line, name, position, site)
        site.positions.setdefault(name, position)
        if recordings and row.get("path"):
            file, start_s = path.parent / row["path"], _start(path, line, row)
            if any(file == other.path for other in site.recordings):
                raise SensorError(f"{path} line {line}: {row['path']} is in a line above")
            site.recordings.append(Recording(name, file, start_s))
    return sites


def _check_position(path: Path, line: int, name: str, position: np.ndarray, site: Site) -> None:
    """Raise SensorError if a position does not go with those of the lines above."""
    for other, known in site.positions.items():
        off_m = float(np.linalg.norm(known - position))
        if other == name and off_m > _SAME_POSITION_M:
            raise SensorError(f"{path} line {line}: {name} has another position in a line above")
        if other != name and off_m <= _SAME_POSITION_M:
            raise SensorError(f"{path} line {line}: {name} has the position of {other}")
        if off_m > _FARTHEST_M:
            raise SensorError(f"{path} line {line}: {name} is {off_m / 1e3:.0f} km from {other}")


def _read_rows(path: Path) -> list[tuple[int, dict[str, str]]]:
    """The rows with their line numbers."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as source:
            reader = csv.DictReader(source)
            rows = [
                (reader.line_num, {k: v or "" for k, v in row.items() if k is not None})
                for row in reader
            ]
    except OSError as error:
        raise SensorError(f"{path}: {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise SensorError(f"{path}: not a CSV file: {error}") from error
    if not rows:
        raise SensorError(f"{path}: has no sensors")
    return rows


def _position(
    path: Path, line: int, row: Mapping[str, str], origin: GeoPosition | None
) -> np.ndarray:
    if origin is None:
        names = (*_LOCAL, *(["z_m"] if row.get("z_m") else []))
        values = [_number(path, line, row, name) for name in names]
        return np.array([*values, *[0.0] * (3 - len(values))])
    try:
        return to_local(_geo_position(path, line, row), origin)
    except ValueError as error:
        raise SensorError(f"{path} line {line}: {error}") from error


def _geo_position(path: Path, line: int, row: Mapping[str, str]) -> GeoPosition:
    lat, lon = (_number(path, line, row, name) for name in _GEO)
    height = _number(path, line, row, "height_m") if row.get("height_m") else 0.0
    position = GeoPosition(lat, lon, height)
    try:
        to_local(position, position)
    except ValueError as error:
        raise SensorError(f"{path} line {line}: {error}") from error
    return position


def _number(path: Path, line: int, row: Mapping[str, str], name: str) -> float:
    try:
        value = float(row[name])
    except ValueError as error:
        raise SensorError(f"{path} line {line}: {name} {row[name]!r} is not a number") from error
    if not math.isfinite(value):
        raise SensorError(f"{path} line {line}: {name} {row[name]!r} is not a number")
    return value


def _start(path: Path, line: int, row: Mapping[str, str]) -> float:
    text = row.get("start_utc", "")
    try:
        return parse_utc(text)
    except ValueError as error:
        raise SensorError(
            f"{path} line {line}: start_utc {text!r} is not a time such as 2026-01-31T12:00:00.000Z"
        ) from error
