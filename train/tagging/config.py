"""What one run of a tagger is: a frozen record, one file of train/configs/ for each."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class TaggerModel:
    """The shape of a tagger over ``(seconds, 128)`` embeddings.

    ``cells`` are the widths of its LSTMs. A ``last_state`` tagger is the YouTube-8M starter
    code's: unit-length frames, the last state and cell of every layer into a classifier, of
    ``mixtures`` experts or logistic at 0. An ``attention`` tagger reads both ways (if
    ``both_ways``) behind a dense layer of ``dense`` units, and every class pools the states by
    an attention of its own (Kong et al., *Audio Set Classification with Attention Model*,
    ICASSP 2018).
    """

    pooling: Literal["last_state", "attention"] = "attention"
    cells: tuple[int, ...] = (384,)
    mixtures: int = 0
    dense: int = 512
    both_ways: bool = True
    classes: int = 527


@dataclass(frozen=True)
class TaggerConfig:
    """Everything that a run depends on, but for the records.

    It ends at the first of: ``steps``; a loss, averaged over about 50 steps, below
    ``until_loss``, where that is above 0; ``patience`` validations without a better MAP, where
    that is above 0. When the loss first falls below each of ``keep_at`` the weights are kept.
    ``balanced_share`` of a batch's clips are drawn class by class, the others clip by clip;
    ``mixup`` is the beta distribution's parameter (Zhang et al., 2018), 0 for none;
    ``missing`` is the probability that a label not given is there all the same: targets of 0
    become it (Szegedy et al.'s label smoothing, on one side). ``validation`` is the share of
    clips, by the hash of their id, that are held out of training.
    """

    name: str
    version: str
    seed: int = 1
    model: TaggerModel = field(default_factory=TaggerModel)
    batch: int = 128
    steps: int = 5_000
    until_loss: float = 0.0
    patience: int = 0
    keep_at: tuple[float, ...] = ()
    warmup: int = 200
    learning_rate: float = 1e-3
    decay_rate: float = 0.0
    decay_steps: int = 0
    weight_decay: float = 0.0
    clip_norm: float = 1.0
    dropout_in: float = 0.0
    dropout: float = 0.0
    mixup: float = 0.0
    balanced_share: float = 0.0
    missing: float = 0.0
    average: float = 0.0
    validation: float = 0.05
    validate_every: int = 500
    checkpoint_every: int = 500
