"""`python -m train adapt` and `transfer`: train a bundle further on one's own clips."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from train.cli.options import CACHE, CLASSES, NO_LIMIT, RECORDS, RUNS, VAL, Cache, Hours, Workers
from train.errors import TrainError

Base = Annotated[Path, typer.Argument(help="Bundle of a detector or a tagger to begin from.")]
To = Annotated[Path, typer.Argument(help="Folder of the new bundle.")]
OwnData = Annotated[
    Path,
    typer.Option(
        "--own",
        help="Your clips: a folder with manifest.csv; for a tagger, the output of "
        "`audioset convert`.",
    ),
]
Steps = Annotated[int, typer.Option(min=4, help="Number of training steps.")]
Rate = Annotated[float, typer.Option(help="Highest learning rate.")]
Seed = Annotated[int, typer.Option(help="Random seed. The same seed gives the same run.")]
Run = Annotated[
    Path, typer.Option(help="Folder for checkpoints and logs. Name it again to continue.")
]
Val = Annotated[Path, typer.Option(help="Val scenes to choose thresholds on.")]
OldData = Annotated[Path | None, typer.Option(help="Folder of the old clips, to score on too.")]
OldRecords = Annotated[Path, typer.Option(help="Old clips of a tagger, converted.")]
OwnClasses = Annotated[
    Path, typer.Option(help="Class list and ontology of your clips, for a tagger.")
]
HeldOut = Annotated[
    float, typer.Option(help="Share of your clips to hold out and score on, for a tagger.")
]


def adapt(
    base: Base,
    to: To,
    own: OwnData,
    share: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Share of your clips in the training sounds.")
    ] = 0.3,
    steps: Steps = 500,
    rate: Rate = 3e-4,
    seed: Seed = 1,
    run: Run = RUNS / "adapted",
    cache: Cache = CACHE,
    val: Val = VAL,
    data: OldData = None,
    records: OldRecords = RECORDS,
    classes: OwnClasses = CLASSES,
    held_out: HeldOut = 0.3,
    workers: Workers = 1,
    hours: Hours = NO_LIMIT,
) -> None:
    """Train a bundle further on your clips.

    Mixes your clips with the old ones, so that the bundle does not forget them, and trains all
    layers. Prints hits and false alarms on your held-out clips before and after. Needs the
    decoded old clips (`prepare`) and val scenes (`mixtures`).

    Example: python -m train adapt streamdet/model/zoo/third my-bundle --own my-clips --share 0.3
    """
    if not 0.0 < share < 1.0:
        raise TrainError(
            f"--share {share:g}: must be above 0 and below 1. Use `transfer` to train on your "
            "clips alone."
        )
    _adapt_bundle("adapted", base, to, own, share, 0, steps, rate, seed, run, cache, val, data,
                  records, classes, held_out, workers, hours)  # fmt: skip


def transfer(
    base: Base,
    to: To,
    own: OwnData,
    layers: Annotated[
        int, typer.Option(min=1, help="Number of layers to train, from the head down.")
    ] = 1,
    steps: Steps = 500,
    rate: Rate = 1e-3,
    seed: Seed = 1,
    run: Run = RUNS / "transferred",
    cache: Cache = CACHE,
    val: Val = VAL,
    data: OldData = None,
    records: OldRecords = RECORDS,
    classes: OwnClasses = CLASSES,
    held_out: HeldOut = 0.3,
    workers: Workers = 1,
    hours: Hours = NO_LIMIT,
) -> None:
    """Retrain the last layers of a bundle on your clips alone.

    Leaves the other layers as they are. Prints hits and false alarms on your held-out clips
    before and after. The base can be any bundle, also one that a run saved at a loss (at-LOSS in
    its folder).

    Example: python -m train transfer streamdet/model/zoo/third my-bundle --own my-clips --layers 1
    """
    _adapt_bundle("transferred", base, to, own, 1.0, layers, steps, rate, seed, run, cache, val,
                  data, records, classes, held_out, workers, hours)  # fmt: skip


def _adapt_bundle(
    kind: str,
    base: Path,
    to: Path,
    own: Path,
    share: float,
    layers: int,
    steps: int,
    rate: float,
    seed: int,
    run: Path,
    cache: Path,
    val: Path,
    data: Path | None,
    records: Path,
    classes: Path,
    held_out: float,
    workers: int,
    hours: float,
) -> None:
    from streamdet.model import bundle, bundle_files, tagger_bundle
    from streamdet.model.bundle import BundleError
    from train.cli.memory import retain_freed_memory
    from train.detector import adaptation
    from train.markdown import format_markdown_table
    from train.tagging.adaptation import adapt_tagger

    retain_freed_memory()
    request = adaptation.AdaptationRequest(own, share, steps, rate, layers, seed)
    try:
        card = bundle_files.read_card(base, (bundle.SCHEMA, tagger_bundle.SCHEMA))
        if card["schema"] == tagger_bundle.SCHEMA:
            rows = adapt_tagger(
                base, request, kind, records, classes, run, to, held_out=held_out, hours=hours
            )
        else:
            rows = adaptation.adapt_detector(
                bundle.load(base), request, kind, cache, run, val, to, data, workers, hours
            )
    except BundleError as error:
        raise TrainError(str(error)) from error
    if rows is None:
        typer.echo(f"{run}: not finished. Run the same command again to continue.")
        return
    typer.echo(format_markdown_table(rows))
