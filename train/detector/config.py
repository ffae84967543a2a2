"""What one training run is: a frozen record, one file of train/configs/ for each."""

from __future__ import annotations

import importlib
import pkgutil
from dataclasses import dataclass, field

from streamdet.model.config import FrontendConfig, ModelConfig
from train import configs
from train.data.config import MixConfig
from train.data.labels import LABELS
from train.errors import TrainError
from train.tagging.config import TaggerConfig


class ConfigError(TrainError):
    """There is no such config; the message lists those there are."""


@dataclass(frozen=True)
class TrainConfig:
    """Everything that a run depends on, but for the data's folder.

    It ends at the first of: ``steps``; a loss, averaged over about 50 steps, below
    ``until_loss``, where that is above 0; ``patience`` validations without a lower miss rate,
    where that is above 0. When the loss first falls below each of ``keep_at`` the weights are
    kept; ``frozen`` layers keep theirs throughout.

    ``start`` names the config whose weights are the first ones here; empty is from
    nothing. ``carry_over`` is the share of rows that begin in the state where the step before
    ended: a hard cut, as films have, and the only way to meet states of long streams in
    training. ``echo`` is how often a batch is trained on before the next (data echoing, Choi
    et al., 2019): mixing costs as much as a step. ``recolour_db`` is how far a random equaliser
    turns a band of the log-mel frames up or down, ``band_mask`` how often some of them are deaf:
    a batch that comes again does not come alike. ``matrix_rate`` and
    ``matrix_decay`` are the learning rate and weight decay of matrices and kernels under Muon;
    at a rate of 0 they have AdamW, as the rest. The ``*_weight`` are those of `train.detector.loss`;
    ``mine_every`` is the steps between minings, 0 for none.
    """

    name: str
    version: str
    start: str = ""
    seed: int = 1
    frontend: FrontendConfig = field(default_factory=FrontendConfig)
    model: ModelConfig = field(default_factory=lambda: ModelConfig(labels=LABELS))
    mix: MixConfig = field(default_factory=MixConfig)
    batch: int = 32
    steps: int = 5_000
    until_loss: float = 0.0
    patience: int = 0
    keep_at: tuple[float, ...] = ()
    frozen: tuple[str, ...] = ()
    warmup: int = 200
    learning_rate: float = 3e-3
    matrix_rate: float = 0.0
    matrix_decay: float = 0.0
    weight_decay: float = 1e-3
    clip_norm: float = 1.0
    dropout: float = 0.15
    average: float = 0.998
    carry_over: float = 0.5
    echo: int = 1
    recolour_db: float = 0.0
    band_mask: float = 0.0
    gunshot_weight: float = 5.0
    context_weight: float = 0.3
    segment_weight: float = 0.0
    segment_frames: int = 25
    bag_weight: float = 0.0
    teacher_weight: float = 0.0
    mine_every: int = 0
    checkpoint_every: int = 250
    validate_every: int = 500


def names() -> list[str]:
    """The configs there are."""
    return sorted(m.name for m in pkgutil.iter_modules(configs.__path__) if not m.ispkg)


def load_any(name: str) -> TrainConfig | TaggerConfig:
    """The config called ``name``; raises ConfigError where there is none."""
    if name not in names():
        raise ConfigError(f"no config {name!r}; there are: {', '.join(names())}")
    return importlib.import_module(f"train.configs.{name}").CONFIG


def load(name: str) -> TrainConfig:
    """The detector's config called ``name``; raises ConfigError where there is none, or where it
    is a tagger's."""
    config = load_any(name)
    if isinstance(config, TaggerConfig):
        raise ConfigError(f"{name} is a tagger's config, which only `python -m train fit` takes")
    return config
