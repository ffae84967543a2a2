"""An incident as a JSON object, with the names of its sensors and its place at the site."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from streamdet.detection.event import format_utc
from streamdet.locate.geometry import GeoPosition, to_geo
from streamdet.locate.incidents import Incident

SCHEMA = "streamdet.location/1"


def describe_incident(
    incident: Incident, names: Sequence[str], origin: GeoPosition | None, test: str = ""
) -> dict[str, Any]:
    """The record of an incident. ``names`` are those of the sensors, by index.

    The place is ``lat`` and ``lon`` if the site has an ``origin``, otherwise ``x_m`` and ``y_m``.
    ``ellipse`` holds the true place with a probability of 95 %; its ``bearing_deg`` is clockwise
    from north (the y axis). ``error_m`` is its larger half axis. ``others`` are places that fit
    nearly as well.
    """
    fix, ellipse = incident.fix, incident.fix.ellipse
    residuals = zip(incident.arrivals, fix.residuals_s.tolist(), strict=True)
    return {
        "schema": SCHEMA,
        **({"test": test} if test else {}),
        "time": format_utc(fix.time_s),
        **_place(fix.x_m, fix.y_m, origin),
        "error_m": round(ellipse.major_m, 1),
        "ellipse": {
            "major_m": round(ellipse.major_m, 1),
            "minor_m": round(ellipse.minor_m, 1),
            "bearing_deg": round((90.0 - ellipse.angle_deg) % 180.0, 1),
        },
        "sensors": {
            names[a.sensor]: {
                "time": format_utc(a.time_s),
                "score": round(a.score, 4),
                "residual_ms": round(residual_s * 1_000.0, 1) + 0.0,  # no -0.0
            }
            for a, residual_s in residuals
        },
        "later_arrivals": len(incident.later),
        "others": [_place(x, y, origin) for x, y in fix.others],
    }


def _place(x_m: float, y_m: float, origin: GeoPosition | None) -> dict[str, float]:
    if origin is None:
        return {"x_m": round(x_m, 2), "y_m": round(y_m, 2)}
    geo = to_geo(np.array([x_m, y_m, 0.0]), origin)
    return {"lat": round(geo.lat, 7), "lon": round(geo.lon, 7)}
