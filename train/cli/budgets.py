"""`python -m train budgets`: whether budgets of false alarms hold, place by place."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from train.cli.options import CACHE, POSITIONS, Cache, Positions, load_bundle


def budgets(
    split: Annotated[str, typer.Option(help="Split of the clips: val or test.")] = "val",
    bundle: Annotated[
        Path | None, typer.Option(help="Bundle to measure. Default: the shipped one.")
    ] = None,
    to: Annotated[
        Path | None,
        typer.Option(help="Folder for the page.", show_default="train/reports/budgets-SPLIT"),
    ] = None,
    cache: Cache = CACHE,
    frames: Annotated[
        Path, typer.Option(help="Folder for the scored streams, about 3 GB for each split.")
    ] = Path(".cache/budgets"),
    positions: Positions = POSITIONS,
    hours: Annotated[float, typer.Option(min=0.2, help="Hours to measure in each place.")] = 4.0,
    place: Annotated[
        list[str] | None, typer.Option(help="Only this place. Can be repeated.")
    ] = None,
) -> None:
    """Measure false alarms and recall of budgets, and write a page.

    Makes streams of a quiet street, rain, traffic, a building site, a crowd, a music venue and film
    from the clips of a split, and judges them by fixed thresholds and by budgets. `prepare --test`
    decodes the test clips. Takes an hour.

    Example: python -m train budgets --split val
    """
    from train.data.corpus import Corpus
    from train.evaluation.budget_page import measure_budgets, write_budget_page
    from train.evaluation.budgets import StreamLengths

    lengths = StreamLengths(evaluation=max(1, round(6 * hours)))
    shorten = max(1, round(4.0 / hours))
    report = measure_budgets(
        load_bundle(bundle), Corpus(cache), split, frames, positions, lengths,
        shorten=shorten, names=place or (), report=lambda line: typer.echo(line, err=True),
    )  # fmt: skip
    folder = to or Path(f"train/reports/budgets-{split}")
    typer.echo(write_budget_page(report, folder))
