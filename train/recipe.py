"""The whole road from a data folder to a bundle, each step only where it is still to do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from rich.console import Console

from train import export, loop
from train.config import TrainConfig
from train.data import mixtures
from train.data.corpus import Corpus, prepare
from train.evaluation import report

log = Console(stderr=True, highlight=False, soft_wrap=True)
VAL_SEED, RARE, REELS, BURSTS = 2026, 240, 60, 60
EBRS_DB = (-6.0, 0.0, 6.0)


def run(
    config: TrainConfig,
    name: str,
    to: Path,
    data: Path,
    cache: Path,
    folder: Path,
    val: Path,
    workers: int = 1,
    hours: float = float("inf"),
) -> str:
    """Do what is still to do, training for at most ``hours``; the figures on val as Markdown,
    or, where training is not over, where it stands."""
    if not (cache / "clips.json").is_file():
        log.print(f"{prepare(data, cache)} clips in {cache}")
    corpus = Corpus(cache)
    if not (val / "truth.csv").is_file():
        mixtures.write(val_set(corpus), val)
        log.print(f"val scenes in {val}")
    state = loop.fit(config, cache, folder, workers, hours)
    if int(state.step) < config.steps:
        return f"step {int(state.step)} of {config.steps}: run this again to go on"
    bundle = export.export(config, name, corpus, folder, val, to)
    return report.as_markdown(report.evaluate(bundle, val, data, "val").figures)


def val_set(corpus: Corpus) -> Iterator[mixtures.Mixture]:
    """The scenes that thresholds are chosen on: 2 h of rare shots, 10 h of film, bursts."""
    yield from mixtures.rare(corpus, "val", VAL_SEED, RARE, EBRS_DB)
    yield from mixtures.film(corpus, "val", VAL_SEED, REELS)
    yield from mixtures.bursts(corpus, "val", VAL_SEED, BURSTS)
