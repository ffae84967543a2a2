"""Ended runs as teachers: their best weights, and their probabilities for every clip."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from streamdet.model.config import Params
from train.audioset.store import ClipStore
from train.detector import config as configs
from train.detector import journal
from train.errors import TrainError
from train.tagging.config import TaggerConfig
from train.tagging.scoring import load_tagger, score_stored_clips

BEST = "best"


def load_best_params(config: TaggerConfig, run: Path) -> Params:
    """The weights of a run at its highest MAP on the held-out clips, as numpy arrays. Raises
    TrainError if there are none, or if they are of another network."""
    model, params, _ = load_tagger(run / BEST)
    if model != config.model:
        raise TrainError(
            f"{run}: a run of another network than {config.name} has now. Remove the folder and "
            "train again."
        )
    return params


def compute_teacher_labels(config: TaggerConfig, store: ClipStore, runs: Path) -> np.ndarray | None:
    """The mean probabilities of the config's teachers for every clip of the store, (clips,
    classes) float16; None if it has no teachers. ``runs`` holds the runs of the teachers. Raises
    TrainError if one of them has not ended."""
    total: Any = 0.0
    for name in config.teachers:
        teacher = configs.load_config(name)
        run = runs / name
        if not isinstance(teacher, TaggerConfig) or journal.read_summary(run) is None:
            raise TrainError(
                f"{config.name}: its teacher {name} has no ended run in {runs}. "
                f"Run `python -m train fit {name}` first."
            )
        params = load_best_params(teacher, run)
        total = total + score_stored_clips(teacher.model, params, store, range(len(store)))[0]
    return (total / len(config.teachers)).astype(np.float16) if config.teachers else None
