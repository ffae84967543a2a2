"""`python -m train audioset`: AudioSet's embedding records, checked and converted."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="Check, count and convert AudioSet's embeddings.")

Source = Annotated[Path, typer.Argument(help="A folder or tar archive of *.tfrecord.")]


@app.command()
def check(
    source: Source,
    classes: Annotated[
        Path, typer.Option(help="Folder with class_labels_indices.csv and ontology.json.")
    ] = Path("../shared/data/audioset"),
) -> None:
    """Verify every record, name the damaged ones, count clips and gunshots; exit code 1 where
    one is damaged.

    Example: python -m train audioset check ../shared/data/audioset/bal_train.tar.xz
    """
    from collections import Counter

    from train.audioset import classes as class_list
    from train.audioset import clips
    from train.audioset.tfrecord import DamagedRecord

    damaged: list[DamagedRecord] = []
    known = class_list.read_class_list(classes)
    seconds: Counter[int] = Counter()
    labelled: Counter[int] = Counter()
    any_gunshot = 0
    for clip in clips.read_clips(source, damaged.append):
        seconds[len(clip.frames)] += 1
        labelled.update(clip.labels)
        any_gunshot += any(label in known.gunshots for label in clip.labels)
    for damage in damaged:
        typer.echo(str(damage))
    whole = seconds[max(seconds, default=0)]
    typer.echo(f"{seconds.total()} clips, {seconds.total() - whole} of them shorter than the rest")
    for index in known.gunshots:
        typer.echo(f"{labelled[index]:6d}  {known.names[index]}")
    typer.echo(f"{any_gunshot:6d}  any of these")
    typer.echo(f"{len(damaged)} damaged records")
    if damaged:
        raise typer.Exit(1)


@app.command()
def convert(
    source: Source,
    to: Annotated[Path, typer.Argument(help="Folder for clips.array_record and clips.json.")],
    skip_damaged: Annotated[
        bool, typer.Option(help="Go on behind damaged records; clips.json names them.")
    ] = False,
) -> None:
    """Write the records' clips into one file that can be read in any order.

    Example: python -m train audioset convert ../shared/data/audioset/bal_train.tar.xz .cache/bal
    """
    import time

    from train.audioset.store import convert_records as write

    began = time.monotonic()
    about = write(source, to, skip_damaged=skip_damaged)
    rate = about["clips"] / (time.monotonic() - began)
    typer.echo(
        f"{about['clips']} clips in {to} ({rate:,.0f} a second), "
        f"{len(about['damaged'])} damaged records skipped"
    )


@app.command()
def speed(
    folder: Annotated[Path, typer.Argument(help="What convert made.")],
    batches: Annotated[int, typer.Option(help="Batches to time.")] = 100,
    rows: Annotated[int, typer.Option(help="Clips in a batch.")] = 256,
) -> None:
    """Clips a second, shuffled and stacked into batches by one process.

    Example: python -m train audioset speed .cache/bal
    """
    import time

    import numpy as np

    from train.audioset.batches import ClipBatches
    from train.audioset.store import ClipStore

    store = ClipStore(folder)
    made = ClipBatches(store, np.arange(len(store)), rows, 1_000, seed=0)
    drawn = made.iter_batches(0, batches + 1)
    next(drawn)
    began = time.monotonic()
    for _ in range(batches):
        next(drawn)
    rate = batches * rows / (time.monotonic() - began)
    typer.echo(f"{rate:,.0f} clips a second: {2e6 / rate / 60:.1f} min for two million")
