"""The commands of `python -m train`. Heavy imports are inside the commands."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from train.cli.adapt import adapt, transfer
from train.cli.audioset import app as audioset_commands
from train.cli.budgets import budgets
from train.cli.data import app as data_commands
from train.cli.distill import answer, scenes, teach
from train.cli.evaluate import evaluate
from train.cli.graphs import graphs
from train.cli.options import (
    CACHE,
    CLASSES,
    DATA,
    NO_LIMIT,
    PACKAGES,
    POSITIONS,
    RECORDS,
    RUNS,
    SCENES,
    TEACHERS,
    VAL,
    Cache,
    Classes,
    ConfigName,
    Data,
    Hours,
    Positions,
    Records,
    Runs,
    Scenes,
    TeacherFolder,
    Workers,
    load_bundle,
)
from train.cli.points import points, print_points
from train.cli.report import film_report, loss_study, vggish
from train.data.config import MixtureSetConfig
from train.errors import TrainError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

VAL_SET = MixtureSetConfig()
BundleFolder = Annotated[Path, typer.Argument(help="Folder of the bundle to write.")]


@app.callback()
def main() -> None:
    """Train detectors and taggers, and measure them.

    `recipe` runs all steps from a data folder to a bundle; the other commands run one step each.
    A command that fails prints one line and exits with code 2.

    Example: python -m train recipe third my-bundle --hours 2
    """


@app.command()
def recipe(
    config: ConfigName,
    to: BundleFolder,
    data: Data = DATA,
    cache: Cache = CACHE,
    runs: Runs = RUNS,
    val: Annotated[Path, typer.Option(help="Folder for the val scenes.")] = VAL,
    more: Annotated[Path, typer.Option(help="Folder for the sounds of packages.")] = PACKAGES,
    packages: Annotated[
        bool, typer.Option(help="Also train on the sounds of Debian packages. Needs apt.")
    ] = True,
    scenes: Scenes = SCENES,
    teachers: TeacherFolder = TEACHERS,
    positions: Positions = POSITIONS,
    workers: Workers = 1,
    hours: Hours = NO_LIMIT,
) -> None:
    """Make a bundle from a data folder: all steps in one command.

    The steps are data fetch, prepare, mixtures, fit, export and evaluate, and before fit, for
    configs that have teachers, scenes, answer and teach. Finished steps are skipped, and training
    continues from its last checkpoint: run the command again until it prints the metrics.

    Example: python -m train recipe second .cache/bundle --hours 2
    """
    from train.cli.memory import retain_freed_memory
    from train.recipe import RecipeFolders, run_recipe

    retain_freed_memory()
    sounds = more if packages else None
    folders = RecipeFolders(data, cache, runs, val, sounds, scenes, teachers, positions)
    typer.echo(run_recipe(config, to, folders, workers, hours))


@app.command()
def prepare(
    data: Data = DATA,
    cache: Cache = CACHE,
    more: Annotated[
        Path | None,
        typer.Option(help="A second data folder, such as the one that `data fetch` makes."),
    ] = None,
    test: Annotated[bool, typer.Option(help="Also decode the test clips.")] = False,
) -> None:
    """Decode the train and val clips once.

    Training and mixtures read the result. Use --test only to report on the test clips.

    Example: python -m train prepare --data ../shared/data --more .cache/packages
    """
    from train.data.corpus import prepare_corpus

    splits = ("train", "val", "test") if test else ("train", "val")
    typer.echo(f"{prepare_corpus(data, cache, splits, more)} clips in {cache}")


@app.command()
def mixtures(
    to: Annotated[Path, typer.Argument(help="Folder for the files and truth.csv.")],
    cache: Cache = CACHE,
    split: Annotated[str, typer.Option(help="Split of the clips: train or val.")] = "val",
    seed: Annotated[
        int, typer.Option(help="Random seed. The same seed gives the same scenes.")
    ] = VAL_SET.seed,
    rare: Annotated[
        int, typer.Option(help="Number of 30 s scenes, half with a shot.")
    ] = VAL_SET.rare,
    reels: Annotated[
        int, typer.Option(help="Number of film-like reels of 10 min.")
    ] = VAL_SET.reels,
    bursts: Annotated[
        int, typer.Option(help="Number of 30 s scenes with a burst.")
    ] = VAL_SET.bursts,
    ebr: Annotated[
        str, typer.Option(help="Event-to-background ratios in dB, separated by commas.")
    ] = ",".join(f"{ebr_db:g}" for ebr_db in VAL_SET.ebrs_db),
    positions: Positions = POSITIONS,
) -> None:
    """Write fixed scenes to measure on, and the field recordings whose shots were all measured.

    Example: python -m train mixtures .cache/val
    """
    from train.data import mixtures as making
    from train.data.corpus import Corpus
    from train.data.distances import read_distances

    corpus = Corpus(cache)
    try:
        ebrs = tuple(float(value) for value in ebr.split(","))
    except ValueError as error:
        raise TrainError(f"--ebr {ebr}: not numbers separated by commas, such as -6,0,6") from error
    asked = MixtureSetConfig(seed=seed, rare=rare, reels=reels, bursts=bursts, ebrs_db=ebrs)
    scenes = making.make_mixture_set(corpus, split, asked, read_distances(positions))
    typer.echo(f"{making.write_mixtures(scenes, to)} scenes in {to}")


@app.command()
def fit(
    config: ConfigName,
    cache: Cache = CACHE,
    runs: Runs = RUNS,
    workers: Workers = 1,
    hours: Hours = NO_LIMIT,
    start: Annotated[
        Path | None,
        typer.Option(help="Bundle of a detector to begin from, instead of the config's start."),
    ] = None,
    scenes: Scenes = SCENES,
    records: Records = RECORDS,
    coordinator: Annotated[
        str | None, typer.Option(help="HOST:PORT of the first of several hosts.")
    ] = None,
    hosts: Annotated[int, typer.Option(min=1, help="Number of hosts that train together.")] = 1,
    host: Annotated[int, typer.Option(min=0, help="Number of this host, from 0.")] = 0,
) -> None:
    """Train the config of a detector or a tagger.

    Continues an interrupted run from its last checkpoint. Uses all devices of this machine, and
    of the other hosts if --hosts is given.

    Example: python -m train fit second --hours 2
    """
    from train.cli.memory import retain_freed_memory
    from train.data.corpus import Corpus
    from train.detector import loop
    from train.detector.config import load_config, load_detector_config
    from train.detector.parallel import join_hosts
    from train.detector.run import print_to_stderr
    from train.recipe import load_start_params
    from train.tagging import loop as tagger_loop
    from train.tagging.config import TaggerConfig
    from train.verifier.config import VerifierTrainingConfig
    from train.verifier.loop import fit_verifier

    loaded = load_config(config)
    if (coordinator is not None) != (hosts > 1) or host >= hosts:
        raise TrainError(
            "--coordinator, --hosts and --host: give all three, with --host below --hosts. "
            "See docs/scaling.md."
        )
    if coordinator is not None:
        join_hosts(coordinator, hosts, host)
    retain_freed_memory()
    if isinstance(loaded, TaggerConfig):
        summary = tagger_loop.fit(loaded, records, runs / config, hours, print_to_stderr)
        typer.echo(f"ended by {summary['ended_by']}; best on held-out clips: {summary['best']}")
        return
    if isinstance(loaded, VerifierTrainingConfig):
        fit_verifier(loaded, scenes, Corpus(cache), runs / config, hours)
        return
    detector = load_detector_config(config)
    params = load_bundle(start).params if start else load_start_params(detector, runs)
    loop.fit(detector, cache, runs / config, workers, hours, params, scenes=scenes)


@app.command()
def export(
    config: ConfigName,
    to: BundleFolder,
    val: Annotated[Path, typer.Option(help="Val scenes to choose thresholds on.")] = VAL,
    cache: Cache = CACHE,
    runs: Runs = RUNS,
    first: Annotated[
        Path | None, typer.Option(help="For a verifier: the bundle that becomes its first stage.")
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="For a verifier: name of the new bundle.")
    ] = None,
    records: Records = RECORDS,
    classes: Classes = CLASSES,
) -> None:
    """Make a bundle of a run's weights.

    Chooses the thresholds of a detector on val scenes, those of a tagger on its held-out clips. A
    verifier becomes the second stage of an existing bundle.

    Example: python -m train export second my-bundle
    """
    from train.data.corpus import Corpus
    from train.detector.config import load_config
    from train.recipe import export_bundle
    from train.tagging.config import TaggerConfig
    from train.tagging.export import export_tagger
    from train.verifier.config import VerifierTrainingConfig
    from train.verifier.export import attach_verifier

    loaded = load_config(config)
    if isinstance(loaded, TaggerConfig):
        summary = export_tagger(loaded, runs / config, records, classes, to)
        typer.echo(f"{to}: on held-out clips {summary['best']}")
        return
    if isinstance(loaded, VerifierTrainingConfig):
        stage = load_bundle(first)
        stage = replace(stage, name=name or stage.name)
        trained_with = f"python -m train fit {config}"
        corpus = Corpus(cache)
        bundle = attach_verifier(stage, loaded, trained_with, runs / config, corpus, val, to)
    else:
        bundle = export_bundle(config, Corpus(cache), runs, val, to)
    print_points(bundle)


@app.command()
def sweep(
    name: Annotated[str, typer.Argument(help="Name of a file in train/configs/sweeps/.")],
    data: Data = DATA,
    cache: Cache = CACHE,
    runs: Runs = RUNS,
    val: Annotated[Path, typer.Option(help="Val scenes to score on.")] = VAL,
    scenes: Scenes = SCENES,
    workers: Workers = 1,
) -> None:
    """Train and score every trial of a sweep.

    Finished trials are skipped, and an interrupted one continues from its last checkpoint.

    Example: python -m train sweep ablation
    """
    from train.cli.memory import retain_freed_memory
    from train.detector.sweep import load_sweep, run_sweep
    from train.markdown import format_markdown_table

    trials = load_sweep(name)
    retain_freed_memory()
    rows = list(run_sweep(trials, cache, runs / f"sweep-{name}", val, data, workers, scenes))
    typer.echo(format_markdown_table(rows, decimals=3))


app.command()(scenes)
app.command()(answer)
app.command()(teach)
app.command()(evaluate)
app.command()(points)
app.command()(graphs)
app.command()(budgets)
app.command()(adapt)
app.command()(transfer)
app.command("loss-study")(loss_study)
app.command("film-report")(film_report)
app.command()(vggish)
app.add_typer(data_commands, name="data")
app.add_typer(audioset_commands, name="audioset")
