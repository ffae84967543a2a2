"""`streamdet model`: what a bundle is, and what it was measured to do."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from streamdet.cli import options

app = typer.Typer(no_args_is_help=True, help="Look at a detector's bundle.")


@app.callback()
def _model() -> None:
    """Look at a detector's bundle."""


@app.command()
def info(
    model: Annotated[
        Path | None,
        typer.Argument(help="A bundle's folder, or a shipped one: second, tiny, first."),
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
        plain = {k: v for k, v in point.figures.items() if not isinstance(v, dict)}
        typer.echo(f"{mark} {name:<9} threshold {point.threshold:.4f}  {_said(plain)}".rstrip())
        for measured_on, figures in point.figures.items():
            if isinstance(figures, dict):
                typer.echo(f"    {measured_on}: {_said(figures)}")
    if isinstance(card.get("calibration"), dict):
        typer.echo(f"calibration: {_said(card['calibration'])}")
    for key in ("trained_with", "commit", "seed", "licence"):
        if key in card:
            typer.echo(f"{key.replace('_', ' ')}: {card[key]}")
    sources = card.get("data", [])
    typer.echo(f"trained on {sum(s['clips'] for s in sources)} clips of {len(sources)} sources:")
    for source in sources:
        typer.echo(f"  {source['clips']:5d}  {source['source']}  ({source['licence']})")


def _said(figures: Mapping[str, Any]) -> str:
    """``recall 0.9, recall 95 0.8 to 0.95``: a pair is an interval."""
    said = {
        k.replace("_", " "): " to ".join(map(str, v)) if isinstance(v, list) else v
        for k, v in figures.items()
    }
    return ", ".join(f"{k} {v}" for k, v in said.items())
