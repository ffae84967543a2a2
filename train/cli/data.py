"""`python -m train data`: is a data folder sound, what is in it, and how does it look."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from train.errors import TrainError

app = typer.Typer(no_args_is_help=True, help="Check, count, show and play a data folder.")

Data = Annotated[Path, typer.Option(help="Folder with manifest.csv and the audio.")]
DATA = Path("../shared/data")


@app.command()
def check(
    data: Data = DATA,
    sounds: Annotated[
        bool, typer.Option(help="Decode every file, and look for the same sound in two splits.")
    ] = True,
) -> None:
    """Name every fault of a data folder; exit code 1 where a grave one is found.

    Example: python -m train data check --data my-sounds
    """
    from train.data.checks import find_faults as faults_of

    grave = others = 0
    for fault in faults_of(data, sounds=sounds):
        grave, others = grave + fault.severe, others + (not fault.severe)
        typer.echo(f"{'grave' if fault.severe else 'minor'}  {fault.path}: {fault.problem}")
    typer.echo(f"{grave} grave, {others} minor" if grave or others else "no faults")
    if grave:
        raise typer.Exit(1)


@app.command()
def stats(data: Data = DATA) -> None:
    """Clips, recordings, sources and minutes of each split and category, and the licences.

    Example: python -m train data stats
    """
    from rich.console import Console
    from rich.table import Table

    from train.data import checks

    rows = checks.read_manifest(data)
    table = Table("split", "category", "clips", "recordings", "sources", "minutes")
    for split, category, clips, groups, sources, minutes in checks.summarise_manifest(rows):
        table.add_row(split, category, str(clips), str(groups), str(sources), f"{minutes:.1f}")
    console = Console()
    console.print(table)
    licences = Table("licence", "clips")
    for licence, clips in checks.count_licences(rows):
        licences.add_row(licence, str(clips))
    console.print(licences)


Count = Annotated[int, typer.Argument(help="How many clips.")]
Category = Annotated[str, typer.Option(help="Clips of this category.")]
Split = Annotated[str, typer.Option(help="Clips of this split.")]
Seed = Annotated[int, typer.Option(help="The same seed, the same clips.")]
Surprising = Annotated[
    Path | None,
    typer.Option(
        "--surprising", help="A bundle: the clips it is most wrong on instead of random ones."
    ),
]


@app.command()
def plot(
    count: Count = 50,
    data: Data = DATA,
    to: Annotated[Path, typer.Option(help="The picture: png, svg or pdf.")] = Path("clips.png"),
    category: Category = "gunshot",
    split: Split = "train",
    seed: Seed = 0,
    surprising: Surprising = None,
) -> None:
    """Draw clips with the activity and the onsets that their strong labels give them.

    Example: python -m train data plot 50 --category gunshot --to shots.png
    """
    from train.data.corpus import read_shot_boxes
    from train.data.shots import find_strong_labels
    from train.detector import plots

    boxes = read_shot_boxes(data)
    chosen = _chosen(data, count, category, split, seed, surprising)
    try:
        plots.clips(
            [
                (f"{r['path']}  {note}", x, find_strong_labels(x, r["kind"], boxes.get(r["path"])))
                for r, x, note in chosen
            ],
            to,
        )
    except (OSError, ValueError) as error:
        raise TrainError(f"{to}: can't be drawn: {error}") from error
    typer.echo(f"{len(chosen)} clips in {to}")


@app.command()
def play(
    count: Count = 5,
    data: Data = DATA,
    category: Category = "gunshot",
    split: Split = "train",
    seed: Seed = 0,
    surprising: Surprising = None,
) -> None:
    """Play clips on the default output, naming each.

    Example: python -m train data play 5 --category hard_negative
    """
    from streamdet.constants import RATE

    try:
        import sounddevice
    except OSError as error:
        raise TrainError(f"no PortAudio: {error}; install libportaudio2") from error
    for row, samples, note in _chosen(data, count, category, split, seed, surprising):
        typer.echo(f"{row['path']}  {row['label']}  {row['source']}  {note}")
        try:
            sounddevice.play(samples, RATE, blocking=True)
        except sounddevice.PortAudioError as error:
            raise TrainError(f"no sound output: {error}") from error


@app.command()
def select(
    to: Annotated[Path, typer.Argument(help="The new data folder.")],
    data: Data = DATA,
    having: Annotated[
        str, typer.Option(help="COLUMN=VALUE,...: the sources that have such a clip.")
    ] = "kind=effect",
    others: Annotated[bool, typer.Option("--others", help="All the other sources.")] = False,
    by: Annotated[
        str, typer.Option(help="What goes as a whole: a source, a recording or a clip.")
    ] = "source",
) -> None:
    """Part a data folder by where its clips come from: all clips of the sources (or recordings)
    that have a certain clip, or of those that have none.

    Example: python -m train data select .cache/effects --having category=gunshot,kind=effect
    """
    from train.data.subset import UNIT_COLUMNS, write_subset

    pairs = [pair.partition("=") for pair in having.split(",")]
    if any(not sign for _, sign, _ in pairs):
        raise TrainError(f"--having {having}: COLUMN=VALUE wanted, more of them by commas")
    wanted = {column: value for column, _, value in pairs}
    if by not in UNIT_COLUMNS:
        raise TrainError(f"--by {by}: not one of {', '.join(UNIT_COLUMNS)}")
    typer.echo(f"{write_subset(data, to, wanted, by, others=others)} clips in {to}")


@app.command()
def fetch(
    to: Annotated[Path, typer.Argument(help="The data folder to make.")] = Path(".cache/packages"),
    apart_from: Annotated[
        Path | None, typer.Option(help="Leave out what val and test clips of this folder hold.")
    ] = None,
) -> None:
    """Make a data folder of the sounds of Debian packages, as other sounds than shots.

    Example: python -m train data fetch .cache/packages --apart-from ../shared/data
    """
    from train.data.packages import fetch_packages as made

    typer.echo(f"{made(to, apart_from)} sounds in {to}")


@app.command()
def speed(
    config: Annotated[str, typer.Argument(help="A name in train/configs/.")] = "second",
    cache: Annotated[Path, typer.Option(help="Where the decoded clips lie.")] = Path(
        ".cache/corpus"
    ),
    batches: Annotated[int, typer.Option(min=1, help="How many to mix.")] = 8,
) -> None:
    """How many scenes a second one process mixes, to hold against what a step takes.

    Example: python -m train data speed second
    """
    import time

    from train.data.loader import SceneBatches
    from train.detector import config as configs

    asked = configs.load(config)
    frame = asked.frontend.hop * asked.model.stride
    mixed = SceneBatches(cache, asked.mix, asked.seed, asked.batch, frame=frame)
    mixed(0)
    began = time.monotonic()
    for step in range(1, batches + 1):
        mixed(step)
    each = (time.monotonic() - began) / batches
    typer.echo(
        f"{asked.batch / each:.1f} scenes a second by one process: a batch of {asked.batch} in "
        f"{each:.3f} s, {each / asked.echo:.3f} s a step"
    )


def _chosen(data, count, category, split, seed, surprising):
    """Rows of the manifest with their samples and a note, at random or by surprise."""
    import numpy as np
    import soundfile

    from train.data import checks
    from train.data.corpus import read_exclusions

    rows = [r for r in checks.read_manifest(data) if r["category"] == category]
    left_out = read_exclusions(data)
    rows = [r for r in rows if r["split"] == split and r["path"] not in left_out]
    if not rows:
        raise TrainError(f"{data}: no clip of {category} in {split}")
    notes = dict.fromkeys((r["path"] for r in rows), "")
    if surprising is None:
        order = np.random.default_rng(seed).permutation(len(rows))
    else:
        from streamdet.model import bundle as bundles
        from train.evaluation.scored_sets import compute_peak_scores

        try:
            detector = bundles.load(surprising)
        except bundles.BundleError as error:
            raise TrainError(str(error)) from error
        scores = np.array(compute_peak_scores(detector, [data / r["path"] for r in rows]))
        order = np.argsort(scores if category == "gunshot" else -scores)
        notes = {r["path"]: f"{s:.2f}" for r, s in zip(rows, scores, strict=True)}
    return [
        (
            rows[i],
            soundfile.read(data / rows[i]["path"], dtype="float32")[0],
            notes[rows[i]["path"]],
        )
        for i in order[:count]
    ]
