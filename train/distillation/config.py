"""The configs of sets of stored scenes and of teacher heads."""

from __future__ import annotations

import importlib
import pkgutil
from dataclasses import dataclass

from train.configs import scene_sets
from train.data.config import SceneSetConfig
from train.data.labels import LABELS
from train.detector.config import LossConfig, OptimizerConfig
from train.errors import TrainError

TICK_S = 0.08
"""Seconds from one tick of a teacher head to the next."""


@dataclass(frozen=True, kw_only=True)
class TeacherHeadConfig(OptimizerConfig, LossConfig):
    """Everything that the training of a teacher head depends on, except the stored scenes.

    ``scenes`` names the folder of stored scenes. ``dense`` is the width of the layer on the
    features, ``cells`` that of the LSTM in each direction. ``taggers`` are the networks whose
    features the head gets. ``feature_noise`` is the standard deviation of the noise on the
    standardised features while training.
    """

    scenes: str
    taggers: tuple[str, ...] = ("yamnet", "mn04")
    labels: tuple[str, ...] = LABELS
    dense: int = 192
    cells: int = 96
    dropout: float = 0.3
    feature_noise: float = 0.0


def load_scene_set(name: str) -> SceneSetConfig:
    """Load the config of a set of scenes. Raises TrainError if it does not exist."""
    names = sorted(m.name for m in pkgutil.iter_modules(scene_sets.__path__))
    if name not in names:
        raise TrainError(f"no set of scenes {name!r}; there are: {', '.join(names)}")
    return importlib.import_module(f"{scene_sets.__name__}.{name}").CONFIG
