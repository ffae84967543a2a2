"""`python -m train data`: check, describe, plot and play a data folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from train.cli.data_import import import_set
from train.cli.options import CACHE, DATA, PACKAGES, Cache, Data, load_bundle
from train.errors import TrainError

if TYPE_CHECKING:
    import numpy as np

app = typer.Typer(no_args_is_help=True, help="Check, describe, plot and play a data folder.")

Count = Annotated[int, typer.Argument(help="Number of clips.")]
Category = Annotated[str, typer.Option(help="Category of the clips.")]
Split = Annotated[str, typer.Option(help="Split of the clips: train, val or test.")]
Seed = Annotated[int, typer.Option(help="Random seed. The same seed gives the same clips.")]
Surprising = Annotated[
    Path | None,
    typer.Option(
        "--surprising",
        help="A bundle. Takes the clips on which it is most wrong, instead of random ones.",
    ),
]


class ChosenClip(NamedTuple):
    """A clip to show: its row of the manifest, its samples (n,) float32, and a note."""

    row: dict[str, str]
    samples: np.ndarray
    note: str


@app.command()
def check(
    data: Data = DATA,
    sounds: Annotated[
        bool, typer.Option(help="Decode every file, and look for the same sound in two splits.")
    ] = True,
) -> None:
    """List the faults of a data folder.

    Exit code 1 if there is a serious one.

    Example: python -m train data check --data my-sounds
    """
    from train.data.checks import find_faults

    serious = minor = 0
    for fault in find_faults(data, sounds=sounds):
        serious, minor = serious + fault.severe, minor + (not fault.severe)
        typer.echo(f"{'serious' if fault.severe else 'minor'}  {fault.path}: {fault.problem}")
    typer.echo(f"{serious} serious, {minor} minor" if serious or minor else "no faults")
    if serious:
        raise typer.Exit(1)


@app.command()
def stats(data: Data = DATA) -> None:
    """Count the clips, recordings, sources and minutes of a data folder.

    Counts by split and category, then the clips of each licence.

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


@app.command()
def plot(
    count: Count = 50,
    data: Data = DATA,
    to: Annotated[Path, typer.Option(help="Picture to write: png, svg or pdf.")] = Path(
        "clips.png"
    ),
    category: Category = "gunshot",
    split: Split = "train",
    seed: Seed = 0,
    surprising: Surprising = None,
) -> None:
    """Plot clips with the activity and onsets of their strong labels.

    Example: python -m train data plot 50 --category gunshot --to shots.png
    """
    from train.data.corpus import read_shot_boxes
    from train.data.shots import find_strong_labels
    from train.evaluation.spectrograms import plot_clip_sheet

    boxes = read_shot_boxes(data)
    clips = _choose_clips(data, count, category, split, seed, surprising)
    sounds = []
    for row, samples, note in clips:
        labels = find_strong_labels(samples, row["kind"], boxes.get(row["path"], ()))
        sounds.append((f"{row['path']}  {note}", samples, labels))
    try:
        plot_clip_sheet(sounds, to)
    except (OSError, ValueError) as error:
        raise TrainError(f"{to}: can't write the picture: {error}") from error
    typer.echo(f"{len(clips)} clips in {to}")


@app.command()
def play(
    count: Count = 5,
    data: Data = DATA,
    category: Category = "gunshot",
    split: Split = "train",
    seed: Seed = 0,
    surprising: Surprising = None,
) -> None:
    """Play clips on the default output, and print the name of each.

    Example: python -m train data play 5 --category hard_negative
    """
    from streamdet.constants import RATE

    try:
        import sounddevice
    except OSError as error:
        raise TrainError(f"no PortAudio: {error}. Install libportaudio2.") from error
    for row, samples, note in _choose_clips(data, count, category, split, seed, surprising):
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
        str,
        typer.Option(help="COLUMN=VALUE,...: take every source with a clip that has these values."),
    ] = "kind=effect",
    others: Annotated[
        bool, typer.Option("--others", help="Take all the other sources instead.")
    ] = False,
    by: Annotated[
        str, typer.Option(help="What to take as a whole: source, recording or clip.")
    ] = "source",
) -> None:
    """Make a data folder from part of another, by where the clips come from.

    Takes all clips of the sources that have a clip with the given values. The audio files are not
    copied.

    Example: python -m train data select .cache/effects --having category=gunshot,kind=effect
    """
    from train.data.subset import UNIT_COLUMNS, write_subset

    pairs = [pair.partition("=") for pair in having.split(",")]
    if any(not sign for _, sign, _ in pairs):
        raise TrainError(f"--having {having}: not COLUMN=VALUE. Separate several with commas.")
    values = {column: value for column, _, value in pairs}
    if by not in UNIT_COLUMNS:
        raise TrainError(f"--by {by}: must be one of {', '.join(UNIT_COLUMNS)}")
    typer.echo(f"{write_subset(data, to, values, by, others=others)} clips in {to}")


@app.command()
def fetch(
    to: Annotated[Path, typer.Argument(help="The data folder to make.")] = PACKAGES,
    apart_from: Annotated[
        Path | None,
        typer.Option(help="Leave out sounds that are in the val or test clips of this folder."),
    ] = None,
) -> None:
    """Make a data folder of other sounds than shots from Debian packages.

    Needs apt.

    Example: python -m train data fetch .cache/packages --apart-from ../shared/data
    """
    from train.data.packages import fetch_packages

    typer.echo(f"{fetch_packages(to, apart_from)} sounds in {to}")


@app.command()
def speed(
    config: Annotated[str, typer.Argument(help="Name of a file in train/configs/.")] = "second",
    cache: Cache = CACHE,
    batches: Annotated[int, typer.Option(min=1, help="Number of batches to mix.")] = 8,
) -> None:
    """Measure how many scenes a second one process mixes.

    Compare the result with the time of a training step.

    Example: python -m train data speed second
    """
    import time

    from train.data.loader import SceneBatches
    from train.detector.config import load_detector_config

    loaded = load_detector_config(config)
    make_batch = SceneBatches(cache, loaded.mix, loaded.seed, loaded.batch, frame=loaded.frame)
    make_batch(0)
    start = time.monotonic()
    for step in range(1, batches + 1):
        make_batch(step)
    batch_s = (time.monotonic() - start) / batches
    typer.echo(
        f"{loaded.batch / batch_s:.1f} scenes a second by one process: a batch of {loaded.batch} "
        f"in {batch_s:.3f} s, {batch_s / loaded.echo:.3f} s a step"
    )


app.command("import")(import_set)


def _choose_clips(
    data: Path, count: int, category: str, split: str, seed: int, surprising: Path | None
) -> list[ChosenClip]:
    """Clips of a category and split: random ones, or those on which a bundle is most wrong."""
    import numpy as np
    import soundfile

    from train.data import checks
    from train.data.corpus import read_exclusions

    excluded = read_exclusions(data)
    rows = [
        row
        for row in checks.read_manifest(data)
        if row["category"] == category and row["split"] == split and row["path"] not in excluded
    ]
    if not rows:
        raise TrainError(
            f"{data}: no clips of category {category!r} in split {split!r}. "
            "`python -m train data stats` lists both."
        )
    notes = [""] * len(rows)
    if surprising is None:
        order = np.random.default_rng(seed).permutation(len(rows))
    else:
        from train.evaluation.scored_sets import compute_peak_scores

        paths = [data / row["path"] for row in rows]
        scores = np.array(compute_peak_scores(load_bundle(surprising), paths))
        order = np.argsort(scores if category == "gunshot" else -scores)
        notes = [f"{score:.2f}" for score in scores]
    chosen = []
    for i in order[:count]:
        samples = soundfile.read(data / rows[i]["path"], dtype="float32")[0]
        chosen.append(ChosenClip(rows[i], samples, notes[i]))
    return chosen
