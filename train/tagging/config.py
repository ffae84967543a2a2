"""Configs of taggers: frozen records, one file in train/configs/ for each."""

from __future__ import annotations

from dataclasses import dataclass, field

from streamdet.model.config import TaggerModelConfig
from train.detector.config import RunConfig


@dataclass(frozen=True, kw_only=True)
class TaggerConfig(RunConfig):
    """Everything that the training of a tagger depends on, except the records.

    The rate warms up and falls in a cosine. If ``decay_steps`` is above 0, it is instead
    multiplied by ``decay_rate`` after every ``decay_steps`` steps, counted from ``decay_from``.

    ``balanced_share`` of the clips of a batch are drawn class by class, the others clip by clip.
    ``own_share`` of them are a user's own. ``mixup`` is the parameter of the beta distribution
    (Zhang et al., 2018; 0: none). ``spliced`` is the share of clips that continue as another one
    after 3 to 7 seconds. If ``shortest`` is above 0, clips are cut to random runs of at least
    that many seconds. ``missing`` is the probability that a label that is not given is true all
    the same; targets of 0 become it (one-sided label smoothing, Szegedy et al.). ``teachers`` are
    configs with ended runs; the mean of their probabilities is ``taught_share`` of each label
    (Hinton et al., *Distilling the Knowledge in a Neural Network*, 2015).

    ``validation`` is the share of clips, by the hash of their id, that are held out of training.
    """

    model: TaggerModelConfig = field(default_factory=TaggerModelConfig)
    batch: int = 128
    warmup: int = 200
    learning_rate: float = 1e-3
    decay_rate: float = 0.0
    decay_steps: int = 0
    decay_from: int = 0
    weight_decay: float = 0.0
    clip_norm: float = 1.0
    dropout_in: float = 0.0
    dropout: float = 0.0
    mixup: float = 0.0
    spliced: float = 0.0
    shortest: int = 0
    balanced_share: float = 0.0
    own_share: float = 0.0
    missing: float = 0.0
    teachers: tuple[str, ...] = ()
    taught_share: float = 0.5
    average: float = 0.0
    validation: float = 0.05
    checkpoint_every: int = 500
