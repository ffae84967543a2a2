"""`python -m train evaluate`: metrics of a bundle on scenes, clips or records."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from train.cli.options import CLASSES, DATA, VAL, Classes, load_bundle
from train.errors import TrainError


def evaluate(
    scenes: Annotated[Path, typer.Option("--set", help="Folder with truth.csv.")] = VAL,
    bundle: Annotated[
        list[Path] | None,
        typer.Option(
            help="Bundle to score. Default: the shipped one. With --records several taggers are "
            "scored as one ensemble."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print all metrics as JSON.")] = False,
    frames_to: Annotated[
        Path | None, typer.Option(help="Also write the scores of all frames, as JSON lines.")
    ] = None,
    data: Annotated[
        Path, typer.Option(help="Folder of clips to rank. Skipped if it does not exist.")
    ] = DATA,
    split: Annotated[
        str, typer.Option(help="Split of the clips: test for reports, otherwise val.")
    ] = "test",
    robustness: Annotated[
        bool, typer.Option(help="Also score through codecs, clipping and rooms. Slow.")
    ] = False,
    peer: Annotated[
        list[Path] | None,
        typer.Option(help="Frame scores of another detector to compare with. Can be repeated."),
    ] = None,
    page: Annotated[
        Path | None, typer.Option(help="Folder for a Markdown page with plots.")
    ] = None,
    records: Annotated[
        Path | None, typer.Option(help="Score taggers on these TFRecords instead of a set.")
    ] = None,
    classes: Classes = CLASSES,
) -> None:
    """Score a bundle on a set of scenes and on clips.

    Uses the serving engine and decision. With --records, scores a tagger on AudioSet's clips.

    Example: python -m train evaluate --set ../shared/eval --json
    """
    folders = bundle or []
    if records is not None:
        _evaluate_taggers(folders, records, classes, as_json=as_json)
        return
    if len(folders) > 1:
        raise TrainError("--bundle: only one detector at a time. Compare others with --peer.")
    from train.evaluation import page as pages
    from train.evaluation import report
    from train.evaluation.scored_sets import write_frame_scores

    detector = load_bundle(folders[0] if folders else None)
    result = report.evaluate_bundle(detector, scenes, data, split, peer or [], robust=robustness)
    if frames_to is not None:
        write_frame_scores(frames_to, result.grid, result.files)
    if page is not None:
        pages.write_page(result, page)
    if as_json:
        typer.echo(json.dumps(result.metrics, indent=2))
    else:
        typer.echo(report.format_markdown(result.metrics))


def _evaluate_taggers(taggers: list[Path], records: Path, classes: Path, *, as_json: bool) -> None:
    if not taggers:
        raise TrainError("--records: no tagger given. Name its folder with --bundle.")
    from train.tagging.scoring import evaluate_taggers

    metrics = evaluate_taggers(taggers, records, classes)
    lines = [f"{name}: {value}" for name, value in metrics.items()]
    typer.echo(json.dumps(metrics) if as_json else "\n".join(lines))
