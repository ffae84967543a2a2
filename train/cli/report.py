"""`python -m train loss-study`, `film-report` and `vggish`: the film studio's experiment."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from train.errors import TrainError

if TYPE_CHECKING:
    from streamdet.model.bundle import Bundle

Records = Annotated[Path, typer.Option(help="The clips to train on, converted.")]
Classes = Annotated[Path, typer.Option(help="The folder of the class list and the ontology.")]
Runs = Annotated[Path, typer.Option(help="Where checkpoints and logs go.")]
Hours = Annotated[
    float, typer.Option(help="Stop at the first checkpoint after them.", show_default="no limit")
]

BAL, CLASSES = Path(".cache/bal"), Path("../shared/data/audioset")
RUNS = Path(".cache/runs")


def loss_study(
    config: Annotated[str, typer.Argument(help="A tagger's config that keeps weights at losses.")],
    to: Annotated[Path, typer.Argument(help="Folder for study.json and study.png.")],
    test: Annotated[Path, typer.Option(help="TFRecords to score on: a folder or tar archive.")],
    records: Records = BAL,
    classes: Classes = CLASSES,
    runs: Runs = RUNS,
    hours: Hours = 1e9,
) -> None:
    """Train a tagger through falling losses, or go on with it, and score the weights at each and
    at the optimum on held-out clips.

    Example: python -m train loss-study lstm_yt8m docs/audioset
    --test ../shared/data/audioset/eval_half.tar.xz
    """
    from train.detector import config as configs
    from train.detector.run import to_stderr
    from train.tagging import study
    from train.tagging.config import TaggerConfig
    from train.tagging.loop import fit as train_tagger

    asked = configs.load_any(config)
    if not isinstance(asked, TaggerConfig) or not asked.keep_at:
        raise TrainError(f"{config}: not a tagger's config that keeps weights at losses")
    ended = train_tagger(asked, records, runs / config, hours, to_stderr)
    to_stderr(f"ended by {ended['ended_by']}")
    rows = study.study(asked, runs / config, test, classes)
    typer.echo(study.write(rows, asked.name, to))


def film_report(
    films: Annotated[
        list[Path] | None, typer.Argument(help="Whole films; none: the labels' own files.")
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(help="A folder of movie_HH-MM-SS.mmm.wav, 10 s each, or a CSV file."),
    ] = None,
    bundle: Annotated[
        list[Path] | None, typer.Option(help="Repeatable; the shipped one if not given.")
    ] = None,
    threshold: Annotated[
        float | None, typer.Option(help="The bundle's default point if not given.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The rows as JSON.")] = False,
) -> None:
    """Print the film table: of the labelled 10 s windows those that were found, and how many of
    the others alarmed, for each bundle and film.

    Example: python -m train film-report movie.wav --labels movie-shots/
    """
    import json

    from train.detector.adaptation import as_markdown
    from train.evaluation import film_table

    if labels is None:
        raise TrainError("--labels is wanted: a folder of movie_HH-MM-SS.mmm.wav, or a CSV file")
    windows = film_table.read_film_windows(labels)
    some = [_bundle(folder) for folder in bundle or [None]]
    rows = [
        row for b in some for row in film_table.make_film_table(b, films or [], windows, threshold)
    ]
    typer.echo(json.dumps(rows, indent=2) if as_json else as_markdown(rows))


def vggish(
    network: Annotated[Path, typer.Argument(help="Your copy of vggish_model.ckpt.")],
    pca: Annotated[Path, typer.Argument(help="Your copy of vggish_pca_params.npz.")],
    tagger: Annotated[Path, typer.Argument(help="A tagger's bundle.")],
    to: Annotated[Path, typer.Argument(help="Folder of the complete bundle.")],
) -> None:
    """Give a tagger ears: VGGish's published weights beside its own, for `streamdet file --model`.

    Example: python -m train vggish vggish_model.ckpt vggish_pca_params.npz train/zoo/audioset-lstm
    .cache/audioset-lstm
    """
    from train.tagging.vggish import complete

    complete(tagger, network, pca, to)
    typer.echo(f"{to}: hears sound now; try `streamdet file --model {to} movie.wav`")


def _bundle(folder: Path | None) -> Bundle:
    from streamdet.model import bundle as bundles

    try:
        return bundles.load(folder)
    except bundles.BundleError as error:
        raise TrainError(str(error)) from error
