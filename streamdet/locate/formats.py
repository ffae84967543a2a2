"""Located incidents as a table, JSON lines, CSV, GeoJSON (RFC 7946) and KML (OGC 12-007r2)."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable, Sequence
from typing import Any
from xml.etree import ElementTree

import numpy as np

from streamdet.locate.geometry import GeoPosition, to_geo

_KML = "http://www.opengis.net/kml/2.2"
_ELLIPSE_POINTS = 36

Record = dict[str, Any]


def format_table(records: Sequence[Record]) -> str:
    """A line for each incident."""
    if not records:
        return ""
    names = ("lat", "lon") if "lat" in records[0] else ("x_m", "y_m")
    lines = [
        f"{'time':<24}  {names[0]:>12}  {names[1]:>12}  {'± m':>6}  {'sensors':>7}  {'rms ms':>6}"
    ]
    for record in records:
        place = "  ".join(f"{record[name]:>12}" for name in names)
        note = f"  or {len(record['others'])} other places" if record["others"] else ""
        note += f"  {record['test']}" if "test" in record else ""
        lines.append(
            f"{record['time']:<24}  {place}  {record['error_m']:>6}  {len(record['sensors']):>7}"
            f"  {_rms_ms(record):>6.1f}{note}"
        )
    return "\n".join(lines) + "\n"


def format_json_lines(records: Sequence[Record]) -> str:
    """A JSON object for each incident."""
    return "".join(json.dumps(record) + "\n" for record in records)


def format_csv(records: Sequence[Record]) -> str:
    """A row for each incident; ``sensors`` are names separated by spaces, ``others`` a number."""
    output = io.StringIO()
    place = ["lat", "lon"] if records and "lat" in records[0] else ["x_m", "y_m"]
    columns = ["test", "time", *place, "error_m", "major_m", "minor_m", "bearing_deg", "rms_ms",
               "sensors", "others"]  # fmt: skip
    writer = csv.DictWriter(output, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for record in records:
        row = {**record, **record["ellipse"], "sensors": " ".join(record["sensors"])}
        row["others"] = len(record["others"])
        writer.writerow({**row, "rms_ms": round(_rms_ms(record), 1)})
    return output.getvalue()


def format_geojson(records: Sequence[Record]) -> str:
    """A point and the 95 % ellipse of each incident, which needs ``lat`` and ``lon``."""
    features = []
    for record in records:
        about = {k: v for k, v in record.items() if k not in ("schema", "lat", "lon")}
        point = {"type": "Point", "coordinates": [record["lon"], record["lat"]]}
        ellipse = {"type": "Polygon", "coordinates": [_outline(record)]}
        features += [
            {"type": "Feature", "geometry": shape, "properties": {"kind": kind, **about}}
            for kind, shape in (("place", point), ("ellipse", ellipse))
        ]
    return json.dumps({"type": "FeatureCollection", "features": features}) + "\n"


def format_kml(records: Sequence[Record]) -> str:
    """A placemark with point and 95 % ellipse for each incident. Raises PositionError."""
    root = ElementTree.Element("kml", xmlns=_KML)
    document = ElementTree.SubElement(root, "Document")
    for record in records:
        mark = ElementTree.SubElement(document, "Placemark")
        name = " ".join(filter(None, (record.get("test"), record["time"])))
        ElementTree.SubElement(mark, "name").text = name
        ElementTree.SubElement(
            mark, "description"
        ).text = f"{len(record['sensors'])} sensors, within {record['error_m']} m (95 %)"
        stamp = ElementTree.SubElement(mark, "TimeStamp")
        ElementTree.SubElement(stamp, "when").text = record["time"]
        shapes = ElementTree.SubElement(mark, "MultiGeometry")
        point = ElementTree.SubElement(shapes, "Point")
        ElementTree.SubElement(point, "coordinates").text = f"{record['lon']},{record['lat']}"
        ring = shapes
        for name in ("Polygon", "outerBoundaryIs", "LinearRing"):
            ring = ElementTree.SubElement(ring, name)
        outline = " ".join(f"{lon},{lat}" for lon, lat in _outline(record))
        ElementTree.SubElement(ring, "coordinates").text = outline
    ElementTree.indent(root)
    text = ElementTree.tostring(root, encoding="unicode", xml_declaration=False)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n'


FORMATS: dict[str, Callable[[Sequence[Record]], str]] = {
    "table": format_table,
    "jsonl": format_json_lines,
    "csv": format_csv,
    "geojson": format_geojson,
    "kml": format_kml,
}
MAPS = ("geojson", "kml")
"""The formats that need latitudes and longitudes."""


def _rms_ms(record: Record) -> float:
    squares = [sensor["residual_ms"] ** 2 for sensor in record["sensors"].values()]
    return math.sqrt(sum(squares) / len(squares))


def _outline(record: Record) -> list[list[float]]:
    """The ellipse as a closed ring of [lon, lat], counter-clockwise."""
    ellipse = record["ellipse"]
    bearing = math.radians(ellipse["bearing_deg"])
    place = GeoPosition(record["lat"], record["lon"])
    ring = []
    for i in range(_ELLIPSE_POINTS):
        angle = 2.0 * math.pi * i / _ELLIPSE_POINTS
        along = ellipse["major_m"] * math.cos(angle)
        across = ellipse["minor_m"] * math.sin(angle)
        east = along * math.sin(bearing) - across * math.cos(bearing)
        north = along * math.cos(bearing) + across * math.sin(bearing)
        geo = to_geo(np.array([east, north, 0.0]), place)
        ring.append([round(geo.lon, 7), round(geo.lat, 7)])
    return [*ring, ring[0]]
