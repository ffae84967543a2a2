"""The recipe: all steps from a data folder to a bundle. Steps that are already done are skipped."""

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
from train.detector.config import DetectorConfig
from train.evaluation import report

log = Console(stderr=True, highlight=False, soft_wrap=True)
VAL_SEED, RARE, REELS, BURSTS = 2026, 240, 60, 60
EBRS_DB = (-6.0, 0.0, 6.0)


def run_recipe(
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
    """Prepare clips, make val scenes, train, export to ``to``, and evaluate on val.

    Trains the config ``name`` and those it begins from, for at most ``hours``. ``more`` is the
    folder for the sounds of Debian packages; None does without them. Returns the metrics on val
    as Markdown or, if the training has not finished, a line that says at which step it is.
    """
    end = time.monotonic() + hours * 3600
    lineage = load_lineage(name)
    if not (cache / "clips.json").is_file():
        if more is not None and not (more / "manifest.csv").is_file():
            log.print(f"{packages.fetch_packages(more, data)} sounds of packages in {more}")
        log.print(f"{prepare_corpus(data, cache, more=more)} clips in {cache}")
    corpus = Corpus(cache)
    if not (val / "truth.csv").is_file():
        mixtures.write_mixtures(make_val_set(corpus), val)
        log.print(f"val scenes in {val}")
    for config_name, config in lineage.items():
        left = max(end - time.monotonic(), 0.0) / 3600
        start = load_start_params(config, corpus, runs)
        state = loop.fit(config, cache, runs / config_name, workers, left, start)
        if int(state.step) < config.steps:
            progress = f"{config_name}: step {int(state.step)} of {config.steps}"
            return f"{progress}. Run the same command again to continue."
    trained_with = f"python -m train recipe {name} BUNDLE"
    bundle = export.export_detector(lineage[name], trained_with, corpus, runs / name, val, to)
    return report.format_markdown(report.evaluate_bundle(bundle, val, data, "val").metrics)


def load_lineage(name: str) -> dict[str, DetectorConfig]:
    """The config ``name`` and those whose weights it begins from, the earliest first."""
    config = configs.load_detector_config(name)
    return {**(load_lineage(config.start) if config.start else {}), name: config}


def load_start_params(config: DetectorConfig, corpus: Corpus, runs: Path) -> Params | None:
    """The weights of the run that ``config`` begins from; None if it begins from random ones."""
    if not config.start:
        return None
    start = configs.load_detector_config(config.start)
    return export.load_detector_params(start, corpus, runs / config.start)


def make_val_set(corpus: Corpus) -> Iterator[mixtures.Mixture]:
    """The scenes to choose thresholds on: 2 h with rare shots, 10 h like film, and bursts."""
    yield from mixtures.make_rare_mixtures(corpus, "val", VAL_SEED, RARE, EBRS_DB)
    yield from mixtures.make_film_mixtures(corpus, "val", VAL_SEED, REELS)
    yield from mixtures.make_burst_mixtures(corpus, "val", VAL_SEED, BURSTS)
