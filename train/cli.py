"""The commands of `python -m train`; heavy imports are inside them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__)

Data = Annotated[Path, typer.Option(help="Folder with manifest.csv and the audio.")]
Cache = Annotated[Path, typer.Option(help="Where the decoded clips lie.")]
Runs = Annotated[Path, typer.Option(help="Where checkpoints and logs go.")]

DATA, CACHE, RUNS = Path("../shared/data"), Path(".cache/corpus"), Path(".cache/runs")


@app.command()
def prepare(data: Data = DATA, cache: Cache = CACHE, test: bool = False) -> None:
    """Decode the train and val clips once; with --test also the test clips, to report on.

    Example: python -m train prepare --data ../shared/data
    """
    from train.data.corpus import prepare as decode

    splits = ("train", "val", "test") if test else ("train", "val")
    typer.echo(f"{decode(data, cache, splits)} clips in {cache}")


@app.command()
def fit(
    config: Annotated[str, typer.Argument(help="A name in train/configs/.")],
    cache: Cache = CACHE,
    runs: Runs = RUNS,
    workers: Annotated[int, typer.Option(help="Processes that mix scenes ahead.")] = 1,
) -> None:
    """Train a config; a run that was cut off goes on from its last checkpoint.

    Example: python -m train fit first
    """
    from train import config as configs
    from train.loop import fit as train

    train(configs.load(config), cache, runs / config, workers)
