"""`streamdet thresholds`: the thresholds of sources with a budget of false alarms."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from streamdet.cli import options
from streamdet.cli.errors import CommandError

if TYPE_CHECKING:
    from pathlib import Path

_COLUMNS = ("source", "threshold", "budget", "expected", "background", "tail")


def thresholds(
    config: options.ConfigOption = None,
    settings: options.SetOption = None,
    as_json: Annotated[
        bool,
        typer.Option("--json", help="Print a JSON array, with the counts of each background."),
    ] = False,
) -> None:
    """Print the thresholds of sources with a budget of false alarms.

    They are those of the daemon's last save. tail is the generalised Pareto distribution of the
    scores (logits) above its start.

    Examples:

    \b
      streamdet thresholds
      streamdet thresholds --config streamdet.toml --json
    """
    from streamdet.config import layers
    from streamdet.daemon import backgrounds, folders

    try:
        folder = folders.background_folder(
            layers.read_config(config, layers.from_settings(settings or []))
        )
    except layers.ConfigError as error:
        raise CommandError("\nstreamdet: ".join(error.faults)) from error
    try:
        records = backgrounds.read_records(folder)
    except OSError as error:
        raise CommandError(f"{folder}: {error.strerror}") from error
    if as_json:
        typer.echo(json.dumps(records, indent=2))
        return
    if not records:
        raise CommandError(_no_records(folder))
    try:
        rows = [_COLUMNS, *(_row(record) for record in records)]
    except (KeyError, TypeError, ValueError) as error:
        raise CommandError(f"{folder}: damaged background: {error!r}") from error
    widths = [max(len(row[i]) for row in rows) for i in range(len(_COLUMNS))]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        typer.echo("  ".join(cells).rstrip())


def _row(record: dict[str, Any]) -> tuple[str, ...]:
    from streamdet.text import printable

    tail, budget = record["tail"], record["budget_per_day"]
    fit = "-"
    if tail is not None:
        fit = f"from {tail['start']:.1f}, shape {tail['shape']:+.2f}, scale {tail['scale']:.2f}"
    return (
        printable(str(record["source"])),
        f"{record['threshold']:.4f}",
        "none" if budget is None else f"{budget:.3g}/day",
        f"{record['expected_per_day']:.3g}/day",
        _duration(record["seconds"]),
        fit,
    )


def _duration(seconds: float) -> str:
    return f"{seconds / 60.0:.0f} min" if seconds < 36_000.0 else f"{seconds / 3_600.0:.0f} h"


def _no_records(folder: Path) -> str:
    return (
        f"{folder}: no backgrounds yet. `streamdet listen` saves them 10 minutes after its start "
        "and at its end"
    )
