"""Positions, distances and the speed of sound."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

ZERO_CELSIUS_K = 273.15
_EQUATOR_M, _FLATTENING = 6_378_137.0, 1.0 / 298.257223563
"""The ellipsoid of WGS 84."""


class GeoPosition(NamedTuple):
    """Latitude and longitude in degrees (WGS 84), height in metres."""

    lat: float
    lon: float
    height_m: float = 0.0


def speed_of_sound(temperature_c: float) -> float:
    """Metres per second in dry air: 331.3 sqrt(1 + t / 273.15) (ISO 9613-1, annex A).

    Raises ValueError outside -60 to 60 degrees Celsius.
    """
    if not -60.0 <= temperature_c <= 60.0:
        raise ValueError(f"{temperature_c:g} is not an air temperature in degrees Celsius")
    return 331.3 * math.sqrt(1.0 + temperature_c / ZERO_CELSIUS_K)


def to_local(position: GeoPosition, origin: GeoPosition) -> np.ndarray:
    """East, north and up of a position in metres from ``origin``, (3,) float64.

    Uses the radii of curvature of the ellipsoid at the origin. At 50 degrees of latitude a place
    1 km east and north of it is off by 0.2 m, one of 10 km by 20 m. Raises ValueError for a
    latitude or a longitude out of range.
    """
    _check(position)
    north_m, east_m = _degree_lengths(origin)
    lon = (position.lon - origin.lon + 180.0) % 360.0 - 180.0
    up = position.height_m - origin.height_m
    return np.array([lon * east_m, (position.lat - origin.lat) * north_m, up])


def to_geo(local: np.ndarray, origin: GeoPosition) -> GeoPosition:
    """The inverse of `to_local`."""
    north_m, east_m = _degree_lengths(origin)
    east, north, up = map(float, local)
    lon = (origin.lon + east / east_m + 180.0) % 360.0 - 180.0
    return GeoPosition(origin.lat + north / north_m, lon, origin.height_m + up)


def distances(positions: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Metres from ``(m, 3)`` points to ``(n, 3)`` positions, (m, n)."""
    return np.linalg.norm(points[:, None] - positions[None], axis=2)


def _degree_lengths(origin: GeoPosition) -> tuple[float, float]:
    """Metres in a degree of latitude and of longitude."""
    _check(origin)
    if abs(origin.lat) > 89.0:
        raise ValueError(f"latitude {origin.lat:g} is too close to a pole")
    lat = math.radians(origin.lat)
    eccentricity = _FLATTENING * (2.0 - _FLATTENING)
    bend = 1.0 - eccentricity * math.sin(lat) ** 2
    meridian = _EQUATOR_M * (1.0 - eccentricity) / bend**1.5
    normal = _EQUATOR_M / math.sqrt(bend)
    degree = math.pi / 180.0
    return meridian * degree, normal * math.cos(lat) * degree


def _check(position: GeoPosition) -> None:
    if not -90.0 <= position.lat <= 90.0:
        raise ValueError(f"latitude {position.lat:g} is not between -90 and 90")
    if not -180.0 <= position.lon <= 180.0:
        raise ValueError(f"longitude {position.lon:g} is not between -180 and 180")
