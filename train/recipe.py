"""The recipe: all steps from a data folder to a bundle. Steps that are already done are skipped."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from streamdet.model.bundle import Bundle
from streamdet.model.config import Params
from train.data import mixtures, packages
from train.data.config import MixtureSetConfig
from train.data.corpus import Corpus, prepare_corpus
from train.data.distances import read_distances
from train.data.scene_store import SceneStore
from train.detector import config as configs
from train.detector import export, loop
from train.detector.config import DetectorConfig
from train.detector.journal import read_summary
from train.distillation.config import load_scene_set
from train.distillation.heads import mix_scene_set, teach_with_heads
from train.distillation.teaching import answer_scenes
from train.evaluation import report
from train.teachers.features import load_teachers
from train.verifier.config import load_verifier_config
from train.verifier.export import attach_verifier
from train.verifier.loop import fit_verifier

log = Console(stderr=True, highlight=False, soft_wrap=True)
VAL_SET = MixtureSetConfig()
"""The scenes to choose thresholds on: 2 h with rare shots, 10 h like film, bursts, the city."""


@dataclass(frozen=True)
class RecipeFolders:
    """Where a recipe reads and writes. ``more`` is the folder for the sounds of Debian packages;
    None does without them. ``teachers`` has the weights of the public taggers, ``positions``
    where sensors and guns were (`train.data.distances`)."""

    data: Path
    cache: Path
    runs: Path
    val: Path
    more: Path | None
    scenes: Path
    teachers: Path
    positions: Path | None = None


def run_recipe(
    name: str, to: Path, folders: RecipeFolders, workers: int = 1, hours: float = float("inf")
) -> str:
    """Prepare clips, make val scenes, train, export to ``to``, and evaluate on val.

    Trains the config ``name``, those it begins from, the teacher heads of its scenes and its
    verifier, for at most ``hours``. Returns the metrics on val as Markdown or, if the training has
    not finished, a line that says at which step it is.
    """
    end = time.monotonic() + hours * 3600
    lineage = load_lineage(name)
    corpus = _prepare_clips(folders)
    if not (folders.val / "truth.csv").is_file():
        distances = read_distances(folders.positions) if folders.positions else None
        made = mixtures.make_mixture_set(corpus, "val", VAL_SET, distances)
        mixtures.write_mixtures(made, folders.val)
        log.print(f"val scenes in {folders.val}")
    for scene_set in sorted({config.scenes for config in lineage.values() if config.scenes}):
        _teach_scenes(scene_set, corpus, folders, workers)
    runs = folders.runs
    for config_name, config in lineage.items():
        left = max(end - time.monotonic(), 0.0) / 3600
        start, scenes = load_start_params(config, runs), folders.scenes
        run = runs / config_name
        state = loop.fit(config, folders.cache, run, workers, left, start, scenes=scenes)
        if read_summary(run) is None:
            return _describe_progress(config_name, int(state.step), config.steps)
    config = lineage[name]
    if config.verifier:
        verifier = load_verifier_config(config.verifier)
        left = max(end - time.monotonic(), 0.0) / 3600
        run = runs / config.verifier
        state = fit_verifier(verifier, folders.scenes, corpus, run, left)
        if read_summary(run) is None:
            return _describe_progress(config.verifier, int(state.step), verifier.steps)
    bundle = export_bundle(name, corpus, runs, folders.val, to)
    metrics = report.evaluate_bundle(bundle, folders.val, folders.data, "val").metrics
    return report.format_markdown(metrics)


def export_bundle(name: str, corpus: Corpus, runs: Path, val: Path, to: Path) -> Bundle:
    """Write the calibrated bundle of a config's run, with its verifier if the config names one."""
    config, trained_with = configs.load_detector_config(name), f"python -m train recipe {name}"
    bundle = export.export_detector(config, trained_with, corpus, runs / name, val, to)
    if not config.verifier:
        return bundle
    verifier = load_verifier_config(config.verifier)
    return attach_verifier(bundle, verifier, trained_with, runs / config.verifier, corpus, val, to)


def _prepare_clips(folders: RecipeFolders) -> Corpus:
    data, cache, more = folders.data, folders.cache, folders.more
    if not (cache / "clips.json").is_file():
        if more is not None and not (more / "manifest.csv").is_file():
            log.print(f"{packages.fetch_packages(more, data)} sounds of packages in {more}")
        log.print(f"{prepare_corpus(data, cache, more=more)} clips in {cache}")
    return Corpus(cache)


def _teach_scenes(name: str, corpus: Corpus, folders: RecipeFolders, workers: int) -> None:
    """Mix a set of scenes, and let the taggers and the heads on them answer it."""
    config = load_scene_set(name)
    for line in mix_scene_set(name, folders.cache, folders.scenes, workers=workers):
        log.print(line)
    store = SceneStore(folders.scenes / name)
    for shard in answer_scenes(store, load_teachers(folders.teachers)):
        log.print(f"answered shard {shard} of {len(store.shards)}")
    for line in teach_with_heads(store, config.heads, corpus, folders.teachers, folders.runs):
        log.print(line)


def _describe_progress(name: str, step: int, steps: int) -> str:
    return f"{name}: step {step} of {steps}. Run the same command again to continue."


def load_lineage(name: str) -> dict[str, DetectorConfig]:
    """The config ``name`` and those whose weights it begins from, the earliest first."""
    config = configs.load_detector_config(name)
    return {**(load_lineage(config.start) if config.start else {}), name: config}


def load_start_params(config: DetectorConfig, runs: Path) -> Params | None:
    """The weights of the run that ``config`` begins from; None if it begins from random ones."""
    if not config.start:
        return None
    start = configs.load_detector_config(config.start)
    return export.load_detector_params(start, runs / config.start)
