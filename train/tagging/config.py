"""What one run of a tagger is: a frozen record, one file of train/configs/ for each."""

from __future__ import annotations

from dataclasses import dataclass, field

from streamdet.model.config import TaggerModelConfig


@dataclass(frozen=True)
class TaggerConfig:
    """Everything that a run depends on, but for the records.

    It ends at the first of: ``steps``; a loss, averaged over about 50 steps, below
    ``until_loss``, where that is above 0; ``patience`` validations without a better MAP, where
    that is above 0. When the loss first falls below each of ``keep_at`` the weights are kept;
    ``frozen`` layers keep theirs throughout.

    ``balanced_share`` of a batch's clips are drawn class by class, the others clip by clip;
    ``own_share`` of them are a user's own. ``mixup`` is the beta distribution's parameter (Zhang
    et al., 2018), 0 for none; ``spliced`` of the clips go on as another does, after 3 to 7
    seconds; where ``shortest`` is above 0, clips are runs of so many seconds or more.
    ``missing`` is the probability that a label not given is there all the same: targets of 0
    become it (Szegedy et al.'s label smoothing, on one side). ``teachers`` are configs whose ended
    runs say of every clip what they hear; the mean of that is ``taught_share`` of its labels
    (Hinton et al., *Distilling the Knowledge in a Neural Network*, 2015).

    Where ``decay_steps`` are given the rate is multiplied by ``decay_rate`` each time so many are
    over behind step ``decay_from``; else it warms up and falls in a cosine.

    ``validation`` is the share of clips, by the hash of their id, that are held out of training.
    """

    name: str
    version: str
    seed: int = 1
    model: TaggerModelConfig = field(default_factory=TaggerModelConfig)
    batch: int = 128
    steps: int = 5_000
    until_loss: float = 0.0
    patience: int = 0
    keep_at: tuple[float, ...] = ()
    frozen: tuple[str, ...] = ()
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
    validate_every: int = 500
    checkpoint_every: int = 500
