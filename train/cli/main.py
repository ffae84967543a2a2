"""The commands of `python -m train`; heavy imports are inside them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from train.cli.adapt import adapt, transfer
from train.cli.audioset import app as audioset_commands
from train.cli.data import app as data_commands
from train.cli.report import film_report, loss_study, vggish
from train.errors import TrainError

if TYPE_CHECKING:
    from streamdet.model.bundle import Bundle

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


app.add_typer(data_commands, name="data")
app.add_typer(audioset_commands, name="audioset")
app.command()(adapt)
app.command()(transfer)
app.command("loss-study")(loss_study)
app.command("film-report")(film_report)
app.command()(vggish)


@app.callback()
def main() -> None:
    """Learn a detector from recordings: recipe does all, the others a part each."""


Data = Annotated[Path, typer.Option(help="Folder with manifest.csv and the audio.")]
Cache = Annotated[Path, typer.Option(help="Where the decoded clips lie.")]
Runs = Annotated[Path, typer.Option(help="Where checkpoints and logs go.")]

Records = Annotated[Path, typer.Option(help="A tagger's clips, as `audioset convert` makes them.")]
Classes = Annotated[
    Path, typer.Option(help="A tagger's class list and ontology: the folder of both.")
]

Workers = Annotated[int, typer.Option(help="Processes that mix scenes ahead.")]
Hours = Annotated[
    float, typer.Option(help="Stop at the first checkpoint after them.", show_default="no limit")
]

DATA, CACHE, RUNS = Path("../shared/data"), Path(".cache/corpus"), Path(".cache/runs")
BAL, CLASSES = Path(".cache/bal"), Path("../shared/data/audioset")
VAL, MORE = Path(".cache/val"), Path(".cache/packages")


@app.command()
def prepare(
    data: Data = DATA,
    cache: Cache = CACHE,
    more: Annotated[
        Path | None, typer.Option(help="A second folder like it, as `data fetch` makes.")
    ] = None,
    test: bool = False,
) -> None:
    """Decode the train and val clips once; with --test also the test clips, to report on.

    Example: python -m train prepare --data ../shared/data --more .cache/packages
    """
    from train.data.corpus import prepare_corpus as decode

    splits = ("train", "val", "test") if test else ("train", "val")
    typer.echo(f"{decode(data, cache, splits, more)} clips in {cache}")


@app.command()
def fit(
    config: Annotated[str, typer.Argument(help="A name in train/configs/.")],
    cache: Cache = CACHE,
    runs: Runs = RUNS,
    workers: Workers = 1,
    hours: Hours = 1e9,
    start: Annotated[
        Path | None, typer.Option(help="A bundle to begin from, not the config's own start.")
    ] = None,
    records: Records = BAL,
    coordinator: Annotated[
        str | None, typer.Option(help="HOST:PORT of the first of several hosts.")
    ] = None,
    hosts: Annotated[int, typer.Option(min=1, help="How many hosts train together.")] = 1,
    host: Annotated[int, typer.Option(min=0, help="Which of them this is, from 0.")] = 0,
) -> None:
    """Train a config, a detector's or a tagger's; a run that was cut off goes on from its last
    checkpoint. Every device of this machine takes part, and of every host that is named.

    Example: python -m train fit second --hours 2
    """
    from train.data.corpus import Corpus
    from train.detector import config as configs
    from train.detector.loop import fit as train
    from train.detector.parallel import joined
    from train.detector.recipe import first_weights
    from train.tagging.config import TaggerConfig

    asked = configs.load_any(config)
    if (coordinator is not None) != (hosts > 1) or host >= hosts:
        raise TrainError("--coordinator, --hosts and --host belong together: see docs/scaling.md")
    if coordinator is not None:
        joined(coordinator, hosts, host)
    if isinstance(asked, TaggerConfig):
        from train.tagging.loop import fit as train_tagger

        ended = train_tagger(asked, records, runs / config, hours, _said)
        typer.echo(f"ended by {ended['ended_by']}; best on held-out clips: {ended['best']}")
        return
    if start is not None:
        weights = _bundle(start).params
    else:
        weights = first_weights(asked, Corpus(cache), runs)
    train(asked, cache, runs / config, workers, hours, weights)


@app.command()
def mixtures(
    to: Annotated[Path, typer.Argument(help="Folder for the files and truth.csv.")],
    cache: Cache = CACHE,
    split: Annotated[str, typer.Option(help="train or val.")] = "val",
    seed: Annotated[int, typer.Option(help="The same seed, the same scenes.")] = 2026,
    rare: Annotated[int, typer.Option(help="Mixtures of 30 s, half with a shot.")] = 240,
    reels: Annotated[int, typer.Option(help="Film-like reels of 10 min.")] = 60,
    bursts: Annotated[int, typer.Option(help="Mixtures of 30 s with a counted burst.")] = 60,
    ebr: Annotated[str, typer.Option(help="EBRs in dB, by commas.")] = "-6,0,6",
) -> None:
    """Write fixed scenes to measure on.

    Example: python -m train mixtures .cache/val
    """
    from itertools import chain

    from train.data import mixtures as make
    from train.data.corpus import Corpus

    corpus = Corpus(cache)
    ebrs = tuple(float(e) for e in ebr.split(","))
    scenes = chain(
        make.make_rare_mixtures(corpus, split, seed, rare, ebrs),
        make.make_film_mixtures(corpus, split, seed, reels),
        make.make_burst_mixtures(corpus, split, seed, bursts),
    )
    typer.echo(f"{make.write_mixtures(scenes, to)} scenes in {to}")


@app.command()
def export(
    config: Annotated[str, typer.Argument(help="A name in train/configs/.")],
    to: Annotated[Path, typer.Argument(help="Folder of the bundle.")],
    val: Annotated[Path, typer.Option(help="Val scenes, to choose thresholds on.")] = VAL,
    cache: Cache = CACHE,
    runs: Runs = RUNS,
    records: Records = BAL,
    classes: Classes = CLASSES,
) -> None:
    """Make a bundle of a run's weights, a detector's thresholds chosen on val scenes, a tagger's
    on its held-out clips.

    Example: python -m train export first streamdet/model/zoo/first
    """
    from train.data.corpus import Corpus
    from train.detector import config as configs
    from train.detector.export import export as write
    from train.tagging.config import TaggerConfig

    asked = configs.load_any(config)
    if isinstance(asked, TaggerConfig):
        from train.tagging.export import export as write_tagger

        run = write_tagger(asked, runs / config, records, classes, to)
        typer.echo(f"{to}: on held-out clips {run['best']}")
        return
    how = f"python -m train recipe {config}"
    bundle = write(asked, how, Corpus(cache), runs / config, val, to)
    for name, point in bundle.operating_points.items():
        typer.echo(f"{name}: {point.threshold:.4f} {dict(point.figures)}")


@app.command()
def recipe(
    config: Annotated[str, typer.Argument(help="A name in train/configs/.")],
    to: Annotated[Path, typer.Argument(help="Folder of the bundle.")],
    data: Data = DATA,
    cache: Cache = CACHE,
    runs: Runs = RUNS,
    val: Annotated[Path, typer.Option(help="Where the val scenes go.")] = VAL,
    more: Annotated[Path, typer.Option(help="Where the packages' sounds go.")] = MORE,
    packages: Annotated[
        bool, typer.Option(help="Also train on the sounds of Debian packages (wants apt).")
    ] = True,
    workers: Workers = 1,
    hours: Hours = 1e9,
) -> None:
    """From a data folder to a bundle: data fetch, prepare, mixtures, fit, export, evaluate on val.

    What is there already is kept, and training goes on where it was: run it again until it
    prints the figures.

    Example: python -m train recipe second .cache/bundle --hours 2
    """
    from train.detector.recipe import run

    typer.echo(run(config, to, data, cache, runs, val, more if packages else None, workers, hours))


@app.command()
def sweep(
    name: Annotated[str, typer.Argument(help="A name in train/sweeps/.")],
    data: Data = DATA,
    cache: Cache = CACHE,
    runs: Runs = RUNS,
    val: Annotated[Path, typer.Option(help="Val scenes to score on.")] = VAL,
    workers: Workers = 1,
) -> None:
    """Train and score every trial of a sweep; one that was cut off goes on.

    Example: python -m train sweep ablation
    """
    from train.detector import sweep as sweeping

    trials = sweeping.load(name)
    rows = sweeping.run(trials, cache, runs / f"sweep-{name}", val, data, workers)
    typer.echo(sweeping.as_markdown(list(rows)))


@app.command()
def evaluate(
    scenes: Annotated[Path, typer.Option("--set", help="Folder with truth.csv.")] = VAL,
    bundle: Annotated[
        list[Path] | None,
        typer.Option(help="The shipped one if not given; several taggers are one ensemble."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="All figures, as JSON.")] = False,
    frames_to: Annotated[
        Path | None, typer.Option(help="Also write frame scores for the benchmark's ruler.")
    ] = None,
    data: Annotated[Path, typer.Option(help="Clips to rank, if the folder is there.")] = DATA,
    split: Annotated[str, typer.Option(help="Which clips: test (to report) or val.")] = "test",
    robustness: Annotated[
        bool, typer.Option(help="Also through codecs, clipping, rooms ...: slow.")
    ] = False,
    peer: Annotated[
        list[Path] | None, typer.Option(help="Frame scores of another detector; repeatable.")
    ] = None,
    page: Annotated[
        Path | None, typer.Option(help="Folder for a Markdown page with plots.")
    ] = None,
    records: Annotated[
        Path | None, typer.Option(help="Score a tagger on these TFRecords instead.")
    ] = None,
    classes: Classes = CLASSES,
) -> None:
    """Score a bundle on a set of scenes and on clips, through the serving engine and decision;
    with --records a tagger on AudioSet's clips.

    Example: python -m train evaluate --set ../shared/eval --json
    """
    import json

    if records is not None:
        if not bundle:
            raise TrainError("--records wants a tagger: name its folder with --bundle")
        from train.tagging.scoring import evaluate as score_tagger

        figures = score_tagger(bundle, records, classes)
        lines = [f"{name}: {value}" for name, value in figures.items()]
        typer.echo(json.dumps(figures) if as_json else "\n".join(lines))
        return
    if len(bundle or []) > 1:
        raise TrainError("--bundle: one detector at a time; the others go with --peer")
    from train.evaluation import page as pages
    from train.evaluation import report
    from train.evaluation.scored_sets import write_frame_scores

    done = report.evaluate_bundle(
        _bundle(bundle[0] if bundle else None), scenes, data, split, peer or [], robust=robustness
    )
    if frames_to is not None:
        write_frame_scores(frames_to, done.grid, done.files)
    if page is not None:
        pages.write_page(done, page)
    typer.echo(
        json.dumps(done.metrics, indent=2) if as_json else report.format_markdown(done.metrics)
    )


def _said(line: str) -> None:
    typer.echo(line, err=True)


def _bundle(folder: Path | None) -> Bundle:
    from streamdet.model import bundle as bundles

    try:
        return bundles.load(folder)
    except bundles.BundleError as error:
        raise TrainError(str(error)) from error
