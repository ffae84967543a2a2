"""`streamdet model`: what a bundle is, and what it was measured to do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from streamdet.cli import options

app = typer.Typer(no_args_is_help=True, help="Look at a detector's bundle.")


@app.callback()
def _model() -> None:
    """Look at a detector's bundle."""


@app.command()
def info(
    model: Annotated[
        Path | None, typer.Argument(help="A bundle's folder; the shipped one if not given.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The whole card, as it is.")] = False,
) -> None:
    """Print a bundle's card: its labels, operating points, data, licences and figures.

    Example: streamdet model info --json
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
        figures = ", ".join(f"{k} {v}" for k, v in point.figures.items())
        typer.echo(f"{mark} {name:<9} threshold {point.threshold:.4f}  {figures}")
    for key in ("trained_with", "commit", "seed", "licence"):
        if key in card:
            typer.echo(f"{key.replace('_', ' ')}: {card[key]}")
    sources = card.get("data", [])
    typer.echo(f"trained on {sum(s['clips'] for s in sources)} clips of {len(sources)} sources:")
    for source in sources:
        typer.echo(f"  {source['clips']:5d}  {source['source']}  ({source['licence']})")
