"""`python -m train adapt` and `transfer`: a bundle goes on learning from one's own clips."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from train.errors import TrainError

Base = Annotated[Path, typer.Argument(help="A detector's or a tagger's bundle to begin from.")]
To = Annotated[Path, typer.Argument(help="Folder of the new bundle.")]
OwnData = Annotated[
    Path,
    typer.Option(
        "--own",
        help="Your clips: a folder with manifest.csv; for a tagger, what `audioset convert` made.",
    ),
]
Steps = Annotated[int, typer.Option(min=4, help="Batches to train on.")]
Rate = Annotated[float, typer.Option(help="The highest learning rate.")]
Seed = Annotated[int, typer.Option(help="The same seed, the same run.")]
Run = Annotated[Path, typer.Option(help="Where checkpoints and logs go; a cut run goes on.")]
Cache = Annotated[Path, typer.Option(help="The old clips, as `prepare` decoded them.")]
Val = Annotated[Path, typer.Option(help="Val scenes, to choose thresholds on.")]
Data = Annotated[Path | None, typer.Option(help="The old clips' folder, to score on too.")]
Records = Annotated[Path, typer.Option(help="A tagger's old clips, converted.")]
Classes = Annotated[Path, typer.Option(help="The class list and ontology of a tagger's own clips.")]
HeldOut = Annotated[float, typer.Option(help="Share of a tagger's own clips to score on.")]
Workers = Annotated[int, typer.Option(help="Processes that mix scenes ahead.")]
Hours = Annotated[
    float, typer.Option(help="Stop at the first checkpoint after them.", show_default="no limit")
]

CACHE, VAL, BAL = Path(".cache/corpus"), Path(".cache/val"), Path(".cache/bal")
CLASSES, RUNS = Path("../shared/data/audioset"), Path(".cache/runs")


def adapt(
    base: Base,
    to: To,
    own: OwnData,
    share: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="How much of what is heard is your own.")
    ] = 0.3,
    steps: Steps = 500,
    rate: Rate = 3e-4,
    seed: Seed = 1,
    run: Run = RUNS / "adapted",
    cache: Cache = CACHE,
    val: Val = VAL,
    data: Data = None,
    records: Records = BAL,
    classes: Classes = CLASSES,
    held_out: HeldOut = 0.3,
    workers: Workers = 1,
    hours: Hours = 1e9,
) -> None:
    """Go on training a bundle with your own clips mixed in, the old ones replayed, and print its
    hits and false alarms on those of yours that were held out, before and after.

    Example: python -m train adapt streamdet/model/zoo/second my-bundle --own my-clips --share 0.3
    """
    if not 0.0 < share < 1.0:
        raise TrainError(
            f"--share {share:g}: above 0 and below 1; `transfer` trains on yours alone"
        )
    _go("adapted", base, to, own, share, 0, steps, rate, seed, run, cache, val, data, records,
        classes, held_out, workers, hours)  # fmt: skip


def transfer(
    base: Base,
    to: To,
    own: OwnData,
    layers: Annotated[int, typer.Option(min=1, help="Layers to retrain, from the head down.")] = 1,
    steps: Steps = 500,
    rate: Rate = 1e-3,
    seed: Seed = 1,
    run: Run = RUNS / "transferred",
    cache: Cache = CACHE,
    val: Val = VAL,
    data: Data = None,
    records: Records = BAL,
    classes: Classes = CLASSES,
    held_out: HeldOut = 0.3,
    workers: Workers = 1,
    hours: Hours = 1e9,
) -> None:
    """Retrain a bundle's last layers on your own clips alone, the others as they are, and print
    its hits and false alarms on those of yours that were held out, before and after.

    A base may be any bundle, those that a run kept at a loss (at-LOSS in its folder) too.

    Example: python -m train transfer .cache/runs/first/at-0.6 my-bundle --own my-clips --layers 1
    """
    _go("transferred", base, to, own, 1.0, layers, steps, rate, seed, run, cache, val, data,
        records, classes, held_out, workers, hours)  # fmt: skip


def _go(
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
    from train.detector import adaptation
    from train.tagging import adaptation as tagging

    try:
        card = bundle_files.read_card(base, (bundle.SCHEMA, tagger_bundle.SCHEMA))
        if card["schema"] == tagger_bundle.SCHEMA:
            rows = tagging.run(
                base, kind, own, records, classes, run, to, share=share, steps=steps, rate=rate,
                layers=layers, held_out=held_out, seed=seed, hours=hours,
            )  # fmt: skip
        else:
            asked = adaptation.Own(own, share, steps, rate, layers, seed)
            rows = adaptation.run(
                bundle.load(base), asked, kind, cache, run, val, to, data, workers, hours
            )
    except BundleError as error:
        raise TrainError(str(error)) from error
    if rows is None:
        typer.echo(f"{run}: not over yet: run this again to go on")
        return
    typer.echo(adaptation.as_markdown(rows))
