"""`streamdet locate plan`: how well sensors would locate shots."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streamdet.cli import file_report, options
from streamdet.cli.errors import CommandError

if TYPE_CHECKING:
    import numpy as np

    from streamdet.locate.coverage import Coverage
    from streamdet.locate.geometry import GeoPosition
    from streamdet.locate.sensors import Site

_TRIALS, _CHECKED = 50, 20


def plan(
    sensors: Annotated[
        Path,
        typer.Option(
            metavar="CSV",
            help="Sensors: the columns sensor, and lat, lon and height_m, or x_m, y_m and z_m in "
            "metres.",
        ),
    ],
    timing_ms: options.TimingOption = 20.0,
    reach: Annotated[
        float,
        typer.Option(
            "--range", metavar="M", min=1.0, max=10_000.0, help="How far a sensor notices a shot."
        ),
    ] = 400.0,
    step: Annotated[
        float, typer.Option(metavar="M", min=0.5, help="Distance of the places that are tried.")
    ] = 20.0,
    temperature: options.TemperatureOption = 15.0,
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw a map, PNG or SVG (extra plots).")
    ] = None,
    geojson: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Write the error of every place. The sensors need lat and lon."
        ),
    ] = None,
) -> None:
    """Show where sensors would locate shots, and how exactly, before they are mounted.

    Prints the share of the area in range of a sensor where three and four sensors are in range,
    and the error that is not exceeded with a probability of 95 %, from the Cramér-Rao bound. The
    bound is checked by simulated shots.

    Examples:

    \b
      streamdet locate plan --sensors sensors.csv --timing-ms 5 --plot map.png
    """
    from streamdet.locate.coverage import estimate_coverage
    from streamdet.locate.geometry import speed_of_sound
    from streamdet.locate.multilateration import check_geometry
    from streamdet.locate.sensors import SensorError, read_sites

    try:
        sites = read_sites(sensors, recordings=False)
    except SensorError as error:
        raise CommandError(str(error)) from error
    if len(sites) > 1:
        raise CommandError(f"{sensors}: has several tests. Use a file with one")
    (site,) = sites.values()
    if geojson is not None and site.origin is None:
        raise CommandError(f"--geojson: {sensors} has no lat and lon, but x_m and y_m")
    import numpy as np

    positions = np.array(list(site.positions.values()))
    try:
        check_geometry(positions)
    except ValueError as error:
        raise CommandError(f"{sensors}: {error}") from error
    _check_outputs(plot, geojson)
    sigma_s, speed = timing_ms / 1_000.0, speed_of_sound(temperature)
    coverage = estimate_coverage(positions, sigma_s, speed, reach, step)
    for line in _summarise(coverage):
        typer.echo(line)
    ratio = _check_bound(positions, coverage, sigma_s, speed, reach)
    if ratio is not None:
        typer.echo(f"simulated shots at {_CHECKED} places: {ratio:.2f} times these errors")
    if geojson is not None and site.origin is not None:
        _write(geojson, json.dumps(_to_geojson(coverage, site, site.origin)) + "\n")
    if plot is not None:
        _draw(plot, coverage, site)


def _check_outputs(plot: Path | None, geojson: Path | None) -> None:
    """Raise CommandError for a file that can't be written."""
    if plot is not None:
        file_report.check_plot_format(plot)
        file_report.require_plots()
        file_report.check_writable("--plot", plot)
    if geojson is not None:
        file_report.check_writable("--geojson", geojson)


def _summarise(coverage: Coverage) -> list[str]:
    import numpy as np

    area = coverage.sensors > 0
    lines = [f"{area.sum() * coverage.step_m**2 / 1e6:.3f} km² in range of a sensor"]
    for count in (3, 4):
        share = float(np.mean(coverage.sensors[area] >= count))
        lines.append(f"{100.0 * share:.0f} % of it in range of {count} or more")
    errors = coverage.error_m[np.isfinite(coverage.error_m)]
    if not len(errors):
        return [*lines, "no place where a shot could be located"]
    for most_m in (5, 10, 25, 100):
        share = float(np.mean(coverage.error_m[area] <= most_m))
        lines.append(f"{100.0 * share:.0f} % of it within {most_m} m (95 %)")
    return [*lines, f"{np.median(errors):.1f} m in the median where three or more are in range"]


def _check_bound(
    positions: np.ndarray, coverage: Coverage, sigma_s: float, speed: float, reach: float
) -> float | None:
    """Simulated errors over expected ones, in the median of some places."""
    import importlib.util

    import numpy as np

    from streamdet.locate.coverage import simulate_error

    good = np.flatnonzero(coverage.error_m <= 100.0)
    if not len(good) or importlib.util.find_spec("scipy") is None:
        return None
    chosen = np.random.default_rng(0).choice(good, min(_CHECKED, len(good)), replace=False)
    ratios = [
        simulate_error(positions, coverage.points[i], sigma_s, speed, reach, _TRIALS)
        / coverage.error_m[i]
        for i in chosen
    ]
    return float(np.median(ratios))


def _to_geojson(coverage: Coverage, site: Site, origin: GeoPosition) -> dict:
    """Sensors as points, and places as squares with the number of sensors and the error."""
    import numpy as np

    from streamdet.locate.geometry import to_geo

    half = coverage.step_m / 2.0

    def coordinates(x: float, y: float) -> list[float]:
        geo = to_geo(np.array([x, y, 0.0]), origin)
        return [round(geo.lon, 7), round(geo.lat, 7)]

    features = [
        {
            "type": "Feature",
            "geometry": {"type": "Point", "coordinates": coordinates(*position[:2])},
            "properties": {"sensor": name},
        }
        for name, position in site.positions.items()
    ]
    corners = ((-1, -1), (1, -1), (1, 1), (-1, 1), (-1, -1))
    for point, sensors, error in zip(
        coverage.points, coverage.sensors, coverage.error_m, strict=True
    ):
        if not np.isfinite(error):
            continue
        ring = [coordinates(point[0] + half * i, point[1] + half * j) for i, j in corners]
        features.append(
            {
                "type": "Feature",
                "geometry": {"type": "Polygon", "coordinates": [ring]},
                "properties": {"sensors": int(sensors), "error_m": round(float(error), 1)},
            }
        )
    return {"type": "FeatureCollection", "features": features}


def _draw(path: Path, coverage: Coverage, site: Site) -> None:
    import numpy as np
    from matplotlib.colors import LogNorm
    from matplotlib.figure import Figure

    columns, rows = coverage.shape
    error = np.where(np.isfinite(coverage.error_m), coverage.error_m, np.nan)
    x, y = coverage.points[:, 0], coverage.points[:, 1]
    figure = Figure(figsize=(7.0, 6.0), layout="constrained")
    axes = figure.add_subplot()
    shown = axes.imshow(
        error.reshape(columns, rows).T, origin="lower", norm=LogNorm(1.0, 100.0), cmap="viridis_r",
        extent=(x.min(), x.max(), y.min(), y.max()),
    )  # fmt: skip
    figure.colorbar(shown, label="expected error in metres (95 %)", extend="both")
    for name, position in site.positions.items():
        at = (float(position[0]), float(position[1]))
        axes.plot(*at, "^", color="black", markeredgecolor="white", markersize=9)
        axes.annotate(
            name, at, xytext=(8, 8), textcoords="offset points", fontsize=8,
            bbox={"boxstyle": "round,pad=0.15", "color": "white", "alpha": 0.8},
        )  # fmt: skip
    axes.set_xlabel("metres east")
    axes.set_ylabel("metres north")
    try:
        figure.savefig(path, dpi=120)
    except OSError as error:
        raise CommandError(f"{path}: {error.strerror}") from error


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise CommandError(f"{path}: {error.strerror}") from error
