"""What an engine returns: scored frames, and the grid that places them on samples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np


@dataclass(frozen=True)
class FrameGrid:
    """How frames lie on samples: ``hop`` samples per log-mel frame, ``stride`` log-mel frames per
    scored frame, at ``rate`` Hz. ``labels`` name the scores of a frame, "gunshot" first."""

    rate: int
    hop: int
    stride: int
    labels: tuple[str, ...]

    @property
    def frame(self) -> int:
        """Samples in one scored frame."""
        return self.hop * self.stride


NO_LOG_MEL = np.zeros((0, 0, 0), np.float32)


class ScoredFrames(NamedTuple):
    """``t`` frames of one stream, all float32: ``scores`` (t, labels) in [0, 1], ``flux``
    (t, stride) in dB, ``level`` (t,) mean square, ``log_mel`` (t, stride, bands) or `NO_LOG_MEL`.
    """

    scores: np.ndarray
    flux: np.ndarray
    level: np.ndarray
    log_mel: np.ndarray = NO_LOG_MEL
