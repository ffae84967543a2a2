"""Configs of training runs: frozen records, one file in train/configs/ for each."""

from __future__ import annotations

import importlib
import pkgutil
from dataclasses import dataclass, field

from streamdet.model.config import FrontendConfig, ModelConfig
from train import configs
from train.data.config import MixConfig
from train.data.labels import LABELS
from train.errors import TrainError


class UnknownConfigError(TrainError):
    """No such config, or one of the wrong kind. The message lists the configs that exist."""


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """What the configs of detectors and taggers have in common: names, length, and checkpoints.

    A run ends at the first of these: ``steps``; a loss, averaged over about 50 steps, below
    ``until_loss`` (0: ignored); ``patience`` validations without a better score (0: ignored).
    ``keep_at`` lists losses: the weights are saved when the averaged loss first falls below each
    of them. ``frozen`` names layers that are not trained.
    """

    name: str
    version: str
    seed: int = 1
    batch: int = 32
    steps: int = 5_000
    until_loss: float = 0.0
    patience: int = 0
    keep_at: tuple[float, ...] = ()
    frozen: tuple[str, ...] = ()
    validate_every: int = 500
    checkpoint_every: int = 250


@dataclass(frozen=True, kw_only=True)
class LossConfig:
    """The weights of the parts of `train.detector.loss`. ``segment_frames`` is the length of a
    segment there, and ``posterior_delay`` the frames by which a network may answer later than its
    teacher."""

    gunshot_weight: float = 5.0
    context_weight: float = 0.3
    segment_weight: float = 0.0
    segment_frames: int = 25
    bag_weight: float = 0.0
    teacher_weight: float = 0.0
    posterior_weight: float = 0.0
    posterior_delay: int = 0
    feature_weight: float = 0.0


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig(RunConfig):
    """The optimizer (`train.detector.optimizer`). ``matrix_rate`` and ``matrix_decay`` are the
    learning rate and weight decay of matrices and kernels under Muon; at a rate of 0 AdamW trains
    them like the other weights. ``average`` is the decay of the moving average of the weights."""

    warmup: int = 200
    learning_rate: float = 3e-3
    matrix_rate: float = 0.0
    matrix_decay: float = 0.0
    weight_decay: float = 1e-3
    clip_norm: float = 1.0
    average: float = 0.998


@dataclass(frozen=True, kw_only=True)
class FramesConfig:
    """The log-mel frames and their augmentation. ``recolour_db`` is the range of a random equaliser
    on the bands, ``band_mask`` the probability that some bands are masked; both make the repeats of
    a scene differ."""

    frontend: FrontendConfig = field(default_factory=FrontendConfig)
    recolour_db: float = 0.0
    band_mask: float = 0.0


@dataclass(frozen=True, kw_only=True)
class DetectorConfig(OptimizerConfig, LossConfig, FramesConfig):
    """Everything that the training of a detector depends on, except the data folder.

    ``start`` names the config whose trained weights this one begins from; empty: random weights.

    ``carry_over`` is the share of rows that begin in the recurrent state in which the previous
    step ended. This joins two scenes with a hard cut, as films do, and exposes the network to the
    states of long streams. ``echo`` is how many times a batch is used before the next one (data
    echoing, Choi et al., 2019), because mixing a batch takes as long as a step. ``mine_every`` is
    the number of steps between hard-negative minings (0: none). ``scenes`` names a set of stored
    scenes to train on (`train.data.scene_store`); empty: scenes are mixed for each batch.
    ``verifier`` names the config of the second stage; empty: there is none.
    """

    start: str = ""
    model: ModelConfig = field(default_factory=lambda: ModelConfig(labels=LABELS))
    mix: MixConfig = field(default_factory=MixConfig)
    dropout: float = 0.15
    carry_over: float = 0.5
    echo: int = 1
    mine_every: int = 0
    scenes: str = ""
    verifier: str = ""

    @property
    def frame(self) -> int:
        """Samples for each frame of logits: the hop times the stride of the network."""
        return self.frontend.hop * self.model.stride

    @property
    def frame_s(self) -> float:
        """Seconds for each frame of logits."""
        return self.frame / self.frontend.sample_rate


def list_configs() -> list[str]:
    """The names of all configs, sorted."""
    return sorted(m.name for m in pkgutil.iter_modules(configs.__path__) if not m.ispkg)


def load_config(name: str) -> RunConfig:
    """Load the config of a detector or a tagger; raises UnknownConfigError if it does not
    exist."""
    names = list_configs()
    if name not in names:
        raise UnknownConfigError(f"no config {name!r}; there are: {', '.join(names)}")
    return importlib.import_module(f"train.configs.{name}").CONFIG


def load_detector_config(name: str) -> DetectorConfig:
    """Load the config of a detector; raises UnknownConfigError if it does not exist or is the
    config of a tagger."""
    config = load_config(name)
    if not isinstance(config, DetectorConfig):
        raise UnknownConfigError(
            f"{name}: a tagger's config. Use it with `python -m train fit` and `export`."
        )
    return config
