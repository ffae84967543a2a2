"""`python -m train loss-study`, `film-report` and `vggish`: taggers and the table of films."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from train.cli.options import (
    CLASSES,
    NO_LIMIT,
    RECORDS,
    RUNS,
    Classes,
    Hours,
    Records,
    Runs,
    load_bundle,
)
from train.errors import TrainError


def loss_study(
    config: Annotated[str, typer.Argument(help="A tagger's config with keep_at.")],
    to: Annotated[Path, typer.Argument(help="Folder for study.json and study.png.")],
    test: Annotated[Path, typer.Option(help="TFRecords to score on: a folder or a tar archive.")],
    records: Records = RECORDS,
    classes: Classes = CLASSES,
    runs: Runs = RUNS,
    hours: Hours = NO_LIMIT,
) -> None:
    """Train a tagger to falling losses, and score the weights at each.

    Continues the run if it has begun. Also scores the weights of the best validation.

    Example: python -m train loss-study lstm_yt8m docs/audioset
    --test ../shared/data/audioset/eval_half.tar.xz
    """
    from train.cli.memory import retain_freed_memory
    from train.detector.config import load_config
    from train.detector.run import print_to_stderr
    from train.tagging import loop, study
    from train.tagging.config import TaggerConfig

    loaded = load_config(config)
    if not isinstance(loaded, TaggerConfig) or not loaded.keep_at:
        raise TrainError(f"{config}: not a tagger's config with keep_at, the losses to save at")
    retain_freed_memory()
    summary = loop.fit(loaded, records, runs / config, hours, print_to_stderr)
    print_to_stderr(f"ended by {summary['ended_by']}")
    rows = study.score_levels(loaded, runs / config, test, classes)
    typer.echo(study.write_study(rows, loaded.name, to))


def film_report(
    films: Annotated[
        list[Path] | None,
        typer.Argument(help="Whole films. Without any, scores the files of the labels."),
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(
            help="Labels: a folder of 10 s files movie_HH-MM-SS.mmm.wav, or a CSV file. Required."
        ),
    ] = None,
    bundle: Annotated[
        list[Path] | None,
        typer.Option(help="Bundle to score. Can be repeated. Default: the shipped one."),
    ] = None,
    threshold: Annotated[
        float | None, typer.Option(help="Threshold. Default: the bundle's default point.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the rows as JSON.")] = False,
) -> None:
    """Print a table of shots found and false alarms in films.

    For each bundle and film: how many of the labelled 10 s windows were found, and how many other
    windows raised an alarm.

    Example: python -m train film-report movie.wav --labels movie-shots/
    """
    import json

    from train.evaluation import film_table
    from train.markdown import format_markdown_table

    if labels is None:
        raise TrainError(
            "film-report: no --labels. Give a folder of movie_HH-MM-SS.mmm.wav files or a CSV file."
        )
    windows = film_table.read_film_windows(labels)
    rows = []
    for folder in bundle or [None]:
        rows += film_table.make_film_table(load_bundle(folder), films or [], windows, threshold)
    typer.echo(json.dumps(rows, indent=2) if as_json else format_markdown_table(rows))


def vggish(
    network: Annotated[Path, typer.Argument(help="Your copy of vggish_model.ckpt.")],
    pca: Annotated[Path, typer.Argument(help="Your copy of vggish_pca_params.npz.")],
    tagger: Annotated[Path, typer.Argument(help="A tagger's bundle.")],
    to: Annotated[Path, typer.Argument(help="Folder of the complete bundle.")],
) -> None:
    """Add VGGish's published weights to a tagger.

    The complete bundle analyses audio; use it with `streamdet file --model`.

    Example: python -m train vggish vggish_model.ckpt vggish_pca_params.npz train/zoo/audioset-lstm
    .cache/audioset-lstm
    """
    from train.tagging.vggish import write_complete_bundle

    write_complete_bundle(tagger, network, pca, to)
    typer.echo(f"{to}: written. Try `streamdet file --model {to} movie.wav`.")
