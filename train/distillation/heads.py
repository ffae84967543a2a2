"""From answered scenes to what students learn: train the heads, score them, and let them answer."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from rich.console import Console

from streamdet.constants import RATE
from streamdet.model import bundle as bundles
from train.data.corpus import Corpus
from train.data.mixtures import Mixture, MixtureEvent, make_city_mixtures
from train.data.scene_store import CLASSES, SceneStore, write_scenes
from train.detector.config import load_config
from train.detector.mining import mine_by_bundle
from train.detector.validation import make_val_scenes
from train.distillation.config import TeacherHeadConfig, load_scene_set
from train.distillation.head_training import fit_head, load_head
from train.distillation.recordings import (
    INDEX,
    AnsweredRecording,
    answer_recordings,
    load_answers,
    measure_miss_rate,
    save_answers,
    score_recordings,
)
from train.distillation.teaching import (
    PROJECTION,
    Head,
    choose_classes,
    fit_projection,
    teach_scenes,
)
from train.errors import TrainError
from train.evaluation import scored_sets
from train.teachers.features import load_teachers

MINED = "mined.json"
log = Console(stderr=True, highlight=False, soft_wrap=True)


def mix_scene_set(
    name: str, cache: Path, scenes: Path, count: int = 0, workers: int = 1
) -> Iterator[str]:
    """Mix the scenes of a set that are missing in ``scenes/name``; yields lines of progress.

    ``count`` 0 is that of the config.
    """
    config, folder = load_scene_set(name), scenes / name
    folder.mkdir(parents=True, exist_ok=True)
    mined: dict[str, float] = {}
    if config.mined_by:
        path = folder / MINED
        if not path.is_file():
            bundle = bundles.load(Path(config.mined_by))
            path.write_text(json.dumps(mine_by_bundle(bundle, Corpus(cache))))
        mined = json.loads(path.read_text())
    wanted = count or config.count
    for done in write_scenes(cache, config.mix, config.seed, folder, wanted, mined, workers):
        yield f"{done} of {wanted} scenes"


def teach_with_heads(
    store: SceneStore,
    names: Sequence[str],
    corpus: Corpus,
    teachers: Path,
    runs: Path,
    hours: float = float("inf"),
    *,
    forget: bool = False,
) -> Iterator[str]:
    """Train the heads ``names``, then store their answers to all scenes. Yields the metrics of each
    head, and of the mean of their logits, on val scenes."""
    val = answer_val_scenes(store.folder.with_name("val-answers"), corpus, teachers)
    if not (store.folder / CLASSES).is_file():
        choose_classes(store, load_teachers(teachers))
    heads, logits = [], []
    for name in names:
        config = _load_head_config(name)
        fit_head(config, store.folder.parent, val, runs / name, hours)
        state = load_head(config, store, runs / name)
        heads.append(Head(config, state.params, state.scale))
        logits.append(score_recordings(config, state.params, state.scale, val))
        yield f"{name}: {measure_miss_rate(val, logits[-1])}"
    mean = [np.mean(of_one, axis=0) for of_one in zip(*logits, strict=True)]
    yield f"mean of {len(heads)}: {measure_miss_rate(val, mean)}"
    if not (store.folder / PROJECTION).is_file():
        fit_projection(store, heads[0].scale)
    for shard in teach_scenes(store, store.folder / PROJECTION, heads, forget=forget):
        log.print(f"shard {shard} of {len(store.shards)}")


def score_set(
    store: SceneStore, names: Sequence[str], folder: Path, teachers: Path, runs: Path
) -> Iterator[str]:
    """Yield the metrics of trained heads, and of the mean of their logits, on a set of scenes."""
    truth, scenes = scored_sets.read_truth(folder), scored_sets.list_scenes(folder)
    recordings = []
    for path in scenes:
        name = f"{path.parent.name}/{path.name}"
        events = tuple(MixtureEvent(*e.span, e.group, None) for e in truth.get(name, []))
        recordings.append(Mixture(name, scored_sets.read_samples(path, RATE), events))
    answered = answer_recordings(load_teachers(teachers), recordings, len(recordings))
    logits = []
    for name in names:
        config = _load_head_config(name)
        state = load_head(config, store, runs / name)
        logits.append(score_recordings(config, state.params, state.scale, answered))
        yield f"{name} on {folder}: {measure_miss_rate(answered, logits[-1])}"
    mean = [np.mean(of_one, axis=0) for of_one in zip(*logits, strict=True)]
    yield f"mean of {len(logits)} on {folder}: {measure_miss_rate(answered, mean)}"


def _load_head_config(name: str) -> TeacherHeadConfig:
    config = load_config(name)
    if not isinstance(config, TeacherHeadConfig):
        raise TrainError(f"{name}: not the config of a teacher head")
    return config


def answer_val_scenes(folder: Path, corpus: Corpus, teachers: Path) -> list[AnsweredRecording]:
    """The taggers' features of the val scenes, from ``folder`` if they are there."""
    if not (folder / INDEX).is_file():
        scenes = [*make_val_scenes(corpus), *make_city_mixtures(corpus, "val")]
        save_answers(folder, answer_recordings(load_teachers(teachers), scenes, len(scenes)))
    return load_answers(folder)
