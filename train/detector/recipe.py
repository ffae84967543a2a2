"""The whole road from a data folder to a bundle, each step only where it is still to do."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console

from streamdet.model.config import Params
from train.data import mixtures, packages
from train.data.corpus import Corpus, prepare_corpus
from train.detector import config as configs
from train.detector import export, loop
from train.detector.config import TrainConfig
from train.evaluation import report

log = Console(stderr=True, highlight=False, soft_wrap=True)
VAL_SEED, RARE, REELS, BURSTS = 2026, 240, 60, 60
EBRS_DB = (-6.0, 0.0, 6.0)


def run(
    name: str,
    to: Path,
    data: Path,
    cache: Path,
    runs: Path,
    val: Path,
    more: Path | None,
    workers: int = 1,
    hours: float = float("inf"),
) -> str:
    """Do what is still to do for the config called ``name`` and those it begins from, training
    for at most ``hours``; the figures on val as Markdown, or, where training is not over, where
    it stands. ``more`` is where the packages' sounds lie or are to go, None to go without."""
    ends = time.monotonic() + hours * 3600
    road = lineage(name)
    if not (cache / "clips.json").is_file():
        if more is not None and not (more / "manifest.csv").is_file():
            log.print(f"{packages.fetch_packages(more, data)} sounds of packages in {more}")
        log.print(f"{prepare_corpus(data, cache, more=more)} clips in {cache}")
    corpus = Corpus(cache)
    if not (val / "truth.csv").is_file():
        mixtures.write_mixtures(val_set(corpus), val)
        log.print(f"val scenes in {val}")
    for config_name, config in road.items():
        left = max(ends - time.monotonic(), 0.0) / 3600
        start = first_weights(config, corpus, runs)
        state = loop.fit(config, cache, runs / config_name, workers, left, start)
        if int(state.step) < config.steps:
            where = f"step {int(state.step)} of {config.steps} of {config_name}"
            return f"{where}: run this again to go on"
    how = f"python -m train recipe {name}"
    bundle = export.export(road[name], how, corpus, runs / name, val, to)
    return report.format_markdown(report.evaluate_bundle(bundle, val, data, "val").metrics)


def lineage(name: str) -> dict[str, TrainConfig]:
    """The config called ``name`` behind those whose weights it begins from, oldest first."""
    config = configs.load(name)
    return {**(lineage(config.start) if config.start else {}), name: config}


def first_weights(config: TrainConfig, corpus: Corpus, runs: Path) -> Params | None:
    """The weights of the run that ``config`` begins from; None where it has none."""
    if not config.start:
        return None
    return export.own_params(configs.load(config.start), corpus, runs / config.start)


def val_set(corpus: Corpus) -> Iterator[mixtures.Mixture]:
    """The scenes that thresholds are chosen on: 2 h of rare shots, 10 h of film, bursts."""
    yield from mixtures.make_rare_mixtures(corpus, "val", VAL_SEED, RARE, EBRS_DB)
    yield from mixtures.make_film_mixtures(corpus, "val", VAL_SEED, REELS)
    yield from mixtures.make_burst_mixtures(corpus, "val", VAL_SEED, BURSTS)
