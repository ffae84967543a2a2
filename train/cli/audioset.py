"""`python -m train audioset`: check and convert AudioSet's embedding records."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from train.cli.options import CLASSES, Classes

app = typer.Typer(no_args_is_help=True, help="Check and convert AudioSet's embedding records.")

Source = Annotated[Path, typer.Argument(help="Folder or tar archive of *.tfrecord files.")]


@app.command()
def check(source: Source, classes: Classes = CLASSES) -> None:
    """Verify every record, and count clips and gunshots.

    Lists damaged records. Exit code 1 if there are any.

    Example: python -m train audioset check ../shared/data/audioset/bal_train.tar.xz
    """
    from collections import Counter

    from train.audioset import classes as class_list
    from train.audioset import clips
    from train.audioset.tfrecord import DamagedRecord

    damaged: list[DamagedRecord] = []
    known = class_list.read_class_list(classes)
    lengths: Counter[int] = Counter()
    labels: Counter[int] = Counter()
    any_gunshot = 0
    for clip in clips.read_clips(source, damaged.append):
        lengths[len(clip.frames)] += 1
        labels.update(clip.labels)
        any_gunshot += any(label in known.gunshots for label in clip.labels)
    for damage in damaged:
        typer.echo(str(damage))
    longest = max(lengths, default=0)
    shorter = lengths.total() - lengths[longest]
    typer.echo(f"{lengths.total()} clips, {shorter} of them shorter than {longest} s")
    for index in known.gunshots:
        typer.echo(f"{labels[index]:6d}  {known.names[index]}")
    typer.echo(f"{any_gunshot:6d}  any of these")
    typer.echo(f"{len(damaged)} damaged records")
    if damaged:
        raise typer.Exit(1)


@app.command()
def convert(
    source: Source,
    to: Annotated[Path, typer.Argument(help="Folder for clips.array_record and clips.json.")],
    skip_damaged: Annotated[
        bool, typer.Option(help="Skip damaged records and list them in clips.json.")
    ] = False,
) -> None:
    """Convert records to one file that can be read in any order.

    Example: python -m train audioset convert ../shared/data/audioset/bal_train.tar.xz .cache/bal
    """
    import time

    from train.audioset.store import convert_records

    start = time.monotonic()
    about = convert_records(source, to, skip_damaged=skip_damaged)
    rate = about["clips"] / (time.monotonic() - start)
    typer.echo(
        f"{about['clips']} clips in {to} ({rate:,.0f} a second), "
        f"{len(about['damaged'])} damaged records skipped"
    )


@app.command()
def speed(
    folder: Annotated[Path, typer.Argument(help="Folder that `convert` wrote.")],
    batches: Annotated[int, typer.Option(help="Number of batches to time.")] = 100,
    rows: Annotated[int, typer.Option(help="Clips in a batch.")] = 256,
) -> None:
    """Measure how many clips a second one process shuffles and batches.

    Example: python -m train audioset speed .cache/bal
    """
    import time

    import numpy as np

    from train.audioset.batches import ClipBatches
    from train.audioset.store import ClipStore

    store = ClipStore(folder)
    source = ClipBatches(store, np.arange(len(store)), rows, 1_000, seed=0)
    stream = source.iter_batches(0, batches + 1)
    next(stream)
    start = time.monotonic()
    for _ in range(batches):
        next(stream)
    rate = batches * rows / (time.monotonic() - start)
    typer.echo(f"{rate:,.0f} clips a second: {2e6 / rate / 60:.1f} min for two million")
