"""What an engine returns: scores of frames, and how those frames lie on samples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np


@dataclass(frozen=True)
class FrameGrid:
    """How frames lie on samples: ``hop`` samples a log-mel frame, ``stride`` of them a
    frame of probabilities, at ``rate`` samples a second."""

    rate: int
    hop: int
    stride: int
    labels: tuple[str, ...]

    @property
    def frame(self) -> int:
        """Samples in one frame of probabilities."""
        return self.hop * self.stride


class ScoredFrames(NamedTuple):
    """What the engine heard in one stream: ``scores`` (t, labels) in [0, 1], ``flux``
    (t, stride) in dB, ``level`` (t,) mean square, all float32."""

    scores: np.ndarray
    flux: np.ndarray
    level: np.ndarray
