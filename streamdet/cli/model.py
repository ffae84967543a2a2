"""`streamdet model`: model bundles and their measured performance."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from streamdet.cli import options

app = typer.Typer(no_args_is_help=True, help="Show model bundles.")


@app.callback()
def _model() -> None:
    """Show model bundles."""


@app.command()
def info(
    model: Annotated[
        Path | None,
        typer.Argument(
            metavar="BUNDLE",
            help="Folder of a model bundle, or a shipped one: third or tiny.",
            show_default="third",
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the whole card of the bundle as JSON.")
    ] = False,
) -> None:
    """Print the labels, operating points, measured performance and training data of a model.

    The training data are listed with their licences, and the training itself with its command,
    seed and commit.

    Examples:

    \b
      streamdet model info
      streamdet model info tiny --json
    """
    bundle = options.load_bundle(model)
    if as_json:
        typer.echo(json.dumps(bundle.card, indent=2))
        return
    card = bundle.card
    typer.echo(f"{bundle.name} {bundle.version}  sha256 {bundle.sha256}")
    typer.echo(f"labels: {', '.join(bundle.model.labels)}")
    for name, point in bundle.operating_points.items():
        mark = "*" if name == bundle.default_point else " "
        plain = {k: v for k, v in point.figures.items() if not isinstance(v, dict)}
        line = f"{mark} {name:<9} threshold {point.threshold:.4f}  {_format_figures(plain)}"
        typer.echo(line.rstrip())
        for measured_on, figures in point.figures.items():
            if isinstance(figures, dict):
                typer.echo(f"    {measured_on}: {_format_figures(figures)}")
    if (verifier := bundle.verifier) is not None:
        count = sum(x.size for layer in verifier.params.values() for x in layer.values())
        typer.echo(
            f"second stage: {count:,} parameters, scores candidates from "
            f"{verifier.candidate_threshold:.4f} of the first stage on"
        )
    if isinstance(card.get("calibration"), dict):
        typer.echo(f"calibration: {_format_figures(card['calibration'])}")
    for key in ("trained_with", "commit", "seed", "licence"):
        if key in card:
            typer.echo(f"{key.replace('_', ' ')}: {card[key]}")
    sources = card.get("data", [])
    typer.echo(f"trained on {sum(s['clips'] for s in sources)} clips of {len(sources)} sources:")
    for source in sources:
        typer.echo(f"  {source['clips']:5d}  {source['source']}  ({source['licence']})")


def _format_figures(figures: Mapping[str, Any]) -> str:
    """``recall 0.9, recall 95 0.8 to 0.95``. A pair is an interval."""
    values = {
        k.replace("_", " "): " to ".join(map(str, v)) if isinstance(v, list) else v
        for k, v in figures.items()
    }
    return ", ".join(f"{k} {v}" for k, v in values.items())
