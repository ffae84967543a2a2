"""`streamdet locate`: where shots were fired, from the recordings of several sensors."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from streamdet.cli import options
from streamdet.cli.errors import (
    BAD_INPUT,
    EXIT_CODE_BY_REASON,
    CommandError,
    exit_on_closed_pipe,
)
from streamdet.cli.locate_plan import plan
from streamdet.pipeline.platform import Platform

if TYPE_CHECKING:
    from streamdet.locate.incidents import Arrival, LocateConfig
    from streamdet.locate.sensors import Site
    from streamdet.pipeline.files import FilePipeline

LOWEST_SCORE = 0.02


class _FilesByDefault(TyperGroup):
    """A group whose command `files` need not be named."""

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Insert the name of the default command where no command is named."""
        if args and args[0] not in (*self.commands, "--help", "-h"):
            args = ["files", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=_FilesByDefault,
    no_args_is_help=True,
    help="Locate shots with several sensors. Without a command's name, it is files: `streamdet "
    "locate --sensors sensors.csv`.",
)
app.command("plan")(plan)


class LocateFormat(StrEnum):
    """The formats of located incidents."""

    table = "table"
    jsonl = "jsonl"
    csv = "csv"
    geojson = "geojson"
    kml = "kml"


@app.command("files")
def files(
    sensors: Annotated[
        Path,
        typer.Option(
            metavar="CSV",
            help="Sensors and recordings: the columns sensor, path, start_utc, and lat, lon and "
            "height_m, or x_m, y_m and z_m in metres. Rows with different values in a column test "
            "are separate.",
        ),
    ],
    paths: Annotated[
        list[Path] | None,
        typer.Argument(metavar="FILE", help="Recordings to use, of those in the file of sensors."),
    ] = None,
    timing_ms: options.TimingOption = 20.0,
    temperature: options.TemperatureOption = 15.0,
    threshold: Annotated[
        float,
        typer.Option(
            metavar="P",
            min=0.001,
            max=1.0,
            help="Score from which on a sound counts as an arrival, if other sensors agree.",
        ),
    ] = LOWEST_SCORE,
    model: options.ModelOption = None,
    platform: options.PlatformOption = Platform.auto,
    output_format: Annotated[
        LocateFormat | None,
        typer.Option(
            "--format",
            help="Format of stdout. geojson and kml need lat and lon.",
            show_default="table if stdout is a terminal, else jsonl",
        ),
    ] = None,
) -> None:
    """Locate shots in recordings of several sensors with known positions and clocks.

    Three sensors with an arrival at consistent times make an incident if their scores together make
    a shot probable. The time is when the shot was fired. error_m is the larger half axis of the
    ellipse that holds the place with a probability of 95 %.

    Clocks must agree to a few milliseconds: sound travels 34 cm in one.

    Examples:

    \b
      streamdet locate --sensors sensors.csv --temperature 4
      streamdet locate --sensors sensors.csv --format geojson > shots.geojson
      streamdet locate files north.flac south.flac east.flac --sensors sensors.csv
    """
    from streamdet.locate.formats import FORMATS, MAPS
    from streamdet.locate.geometry import speed_of_sound
    from streamdet.locate.incidents import LocateConfig
    from streamdet.locate.sensors import SensorError, read_sites

    chosen = output_format or (LocateFormat.table if sys.stdout.isatty() else LocateFormat.jsonl)
    try:
        sites = _select(read_sites(sensors), paths or [], sensors)
        _check_sites(sites, sensors)
    except SensorError as error:
        raise CommandError(str(error)) from error
    if chosen.value in MAPS and any(site.origin is None for site in sites.values()):
        raise CommandError(f"--format {chosen}: {sensors} has no lat and lon, but x_m and y_m")
    _require_scipy()
    pipeline = _create_pipeline(model, threshold, platform, sites)
    config = LocateConfig(speed=speed_of_sound(temperature), path_sigma_s=timing_ms / 1_000.0)
    records: list[dict[str, Any]] = []
    codes: set[int] = set()
    for test, site in sites.items():
        found, failed = _locate_site(pipeline, config, site, test)
        records += found
        codes |= failed
    with exit_on_closed_pipe():
        sys.stdout.write(FORMATS[chosen.value](records))
    if not records:
        typer.echo("streamdet: no incidents found", err=True)
    if codes:
        raise typer.Exit(codes.pop() if len(codes) == 1 else BAD_INPUT)


def _select(sites: dict[str, Site], paths: list[Path], sensors: Path) -> dict[str, Site]:
    """The sites with recordings, or with those at the ``paths`` only."""
    from streamdet.locate.sensors import SensorError

    wanted = {path.resolve(): path for path in paths}
    known = {r.path.resolve() for site in sites.values() for r in site.recordings}
    for path, given in wanted.items():
        if path not in known:
            raise SensorError(f"{given}: not among the recordings of {sensors}")
    selected = {
        test: site._replace(
            recordings=[r for r in site.recordings if not wanted or r.path.resolve() in wanted]
        )
        for test, site in sites.items()
    }
    selected = {test: site for test, site in selected.items() if site.recordings}
    if not selected:
        raise SensorError(f"{sensors}: has no recordings. Add the columns path and start_utc")
    return selected


def _require_scipy() -> None:
    import importlib.util

    if importlib.util.find_spec("scipy") is None:
        raise CommandError("locate needs SciPy: pip install 'streamdet[locate]'")


def _create_pipeline(
    model: Path | None, threshold: float, platform: Platform, sites: dict[str, Site]
) -> FilePipeline:
    from streamdet.audio.media import duration_s
    from streamdet.detection.decision import DecisionConfig
    from streamdet.pipeline import engine_choice
    from streamdet.pipeline.files import FilePipeline
    from streamdet.pipeline.jax_setup import configure_jax

    bundle = options.load_bundle(model)
    recordings = [r for site in sites.values() for r in site.recordings]
    seconds = sum(duration_s(r.path) or 0.0 for r in recordings if r.path.is_file())
    engine = options.create_on_platform(
        lambda: engine_choice.file_engine(bundle, platform, seconds, configure_jax)
    )
    scorer = options.create_on_platform(lambda: engine_choice.scorer_for(bundle, engine))
    return FilePipeline(engine, DecisionConfig(threshold), "mix", scorer, None)


def _locate_site(
    pipeline: FilePipeline, config: LocateConfig, site: Site, test: str
) -> tuple[list[dict[str, Any]], set[int]]:
    """The records of a site's incidents, and the exit codes for recordings that could not be read
    to their end."""
    import numpy as np

    from streamdet.locate.incidents import find_incidents
    from streamdet.locate.records import describe_incident
    from streamdet.pipeline.arrivals import find_arrivals

    names = list(site.positions)
    arrivals: list[Arrival] = []
    codes: set[int] = set()
    for recording in site.recordings:
        sensor = names.index(recording.sensor)
        found, fault = find_arrivals(pipeline, recording.path, sensor, recording.start_s)
        arrivals += found
        if fault is not None:
            typer.echo(f"streamdet: {fault}", err=True)
            codes.add(EXIT_CODE_BY_REASON[fault.reason])
    incidents = find_incidents(config, np.array(list(site.positions.values())), arrivals)
    return [describe_incident(i, names, site.origin, test) for i in incidents], codes


def _check_sites(sites: dict[str, Site], sensors: Path) -> None:
    """Raise SensorError if no site can locate a shot."""
    import numpy as np

    from streamdet.locate.multilateration import check_geometry
    from streamdet.locate.sensors import SensorError

    problem = None
    for site in sites.values():
        used = {recording.sensor for recording in site.recordings}
        try:
            check_geometry(np.array([site.positions[name] for name in sorted(used)]))
            return
        except ValueError as error:
            problem = error
    raise SensorError(f"{sensors}: {problem}")
