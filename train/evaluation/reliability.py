"""Whether scores are probabilities: the expected calibration error over seconds of scenes.

Guo et al., *On Calibration of Modern Neural Networks*, ICML 2017.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from streamdet.detection.frames import FrameGrid
from train.evaluation.scored_sets import ScoredFile

SEGMENT_S = 1.0
EVENT_MARGIN_S = 0.5
BINS = 10


class ReliabilityBin(NamedTuple):
    """Seconds whose peak scores lie in one tenth of [0, 1]: their mean score, the share of them in
    which an event begins, and their number."""

    score: float
    truth: float
    seconds: int


def collect_second_peaks(
    grid: FrameGrid, files: Sequence[ScoredFile], *, verified: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """The peak logit of each second, (n,) float64, and whether an event begins in it, (n,) bool.
    Seconds that hold only the decay of an event are left out. With ``verified`` only seconds count
    in which a verifier scored a frame."""
    length = max(1, round(SEGMENT_S * grid.rate / grid.frame))
    seconds = length * grid.frame / grid.rate
    logits, positive = [], []
    for file in files:
        p = np.clip(file.frames.scores[:, 0].astype(np.float64), 1e-7, 1.0 - 1e-7)
        count = len(p) // length
        peaks = np.log(p / (1.0 - p))[: count * length].reshape(count, length).max(axis=1)
        start = np.arange(count) * seconds
        end = start + seconds
        begins, decays = np.zeros(count, bool), np.zeros(count, bool)
        for onset, offset in file.truth:
            begins |= (start < onset + EVENT_MARGIN_S) & (end > onset)
            decays |= (start < offset + EVENT_MARGIN_S) & (end > onset - EVENT_MARGIN_S)
        included = begins | ~decays
        if verified and file.stage is not None:
            changed = file.frames.scores[:, 0] != file.stage.scores
            included &= changed[: count * length].reshape(count, length).any(axis=1)
        logits.append(peaks[included])
        positive.append(begins[included])
    return np.concatenate(logits), np.concatenate(positive)


def compute_reliability(logits: np.ndarray, positive: np.ndarray) -> list[ReliabilityBin]:
    """The bins that are not empty, of ``(n,)`` logits and ``(n,) bool``."""
    p = 1.0 / (1.0 + np.exp(-logits))
    index = np.minimum((p * BINS).astype(int), BINS - 1)
    return [
        ReliabilityBin(
            float(p[index == b].mean()), float(positive[index == b].mean()), int(sum(index == b))
        )
        for b in np.unique(index)
    ]


def compute_calibration_error(logits: np.ndarray, positive: np.ndarray) -> float:
    """Expected calibration error: the mean distance between confidence and truth over the bins,
    weighted by their seconds. Both arrays are (n,)."""
    bins = compute_reliability(logits, positive)
    total = sum(b.seconds for b in bins)
    return sum(abs(b.score - b.truth) * b.seconds for b in bins) / max(1, total)
