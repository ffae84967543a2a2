"""The config of the training of a verifier."""

from __future__ import annotations

from dataclasses import dataclass, field

from streamdet.model.config import VerifierConfig
from train.data.labels import LABELS
from train.detector.config import (
    FramesConfig,
    LossConfig,
    OptimizerConfig,
    UnknownConfigError,
    load_config,
)


@dataclass(frozen=True, kw_only=True)
class VerifierTrainingConfig(OptimizerConfig, LossConfig, FramesConfig):
    """Everything that the training of a verifier depends on, except the stored scenes.

    A row of a batch is a window cut at random out of a stored scene of the set ``scenes``. Frames
    nearer than ``margin`` to the ends of a window do not count.
    """

    scenes: str
    model: VerifierConfig = field(default_factory=lambda: VerifierConfig(labels=LABELS))
    margin: int = 14
    dropout: float = 0.2

    @property
    def frame_s(self) -> float:
        """Seconds for each frame of logits."""
        return self.frontend.hop * self.model.stride / self.frontend.sample_rate


def load_verifier_config(name: str) -> VerifierTrainingConfig:
    """Load the config of a verifier; raises UnknownConfigError if it does not exist or is another
    kind of config."""
    config = load_config(name)
    if not isinstance(config, VerifierTrainingConfig):
        raise UnknownConfigError(f"{name}: not the config of a verifier")
    return config
