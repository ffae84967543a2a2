"""PSDS by sed-scores-eval, as a cross-check of the event metrics (Ebbers et al., *Threshold
Independent Evaluation of Sound Event Detection Scores*, ICASSP 2022).

The library is not in the locked environment, because it is built from source and needs pandas 2.
Install it with ``pip install 'streamdet[crosscheck]'``; without it, PSDS is not computed.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence

import numpy as np

from streamdet.detection.frames import FrameGrid
from train.evaluation.scored_sets import ScoredFile

OVERLAP = 0.05
"""The share of an alarm, and of an event, that must overlap the other. The usual 0.5 or 0.7 would
be too strict: true events include long decays, and alarms are short."""
MAX_FALSE_ALARMS_H = 20.0


def is_installed() -> bool:
    """Whether sed-scores-eval is installed."""
    return importlib.util.find_spec("sed_scores_eval") is not None


def compute_psds(grid: FrameGrid, files: Sequence[ScoredFile]) -> float | None:
    """Compute PSDS in [0, 1] with DTC = GTC = 0.05 up to 20 false alarms per hour.

    Returns None if sed-scores-eval is not installed.
    """
    if not is_installed():
        return None
    from sed_scores_eval import intersection_based  # type: ignore[import-not-found]
    from sed_scores_eval.base_modules.scores import (  # type: ignore[import-not-found]
        create_score_dataframe,
    )

    hop_s = grid.frame / grid.rate
    scores, truth, durations = {}, {}, {}
    for file in files:
        file_scores = np.array(file.frames.scores[:, :1], np.float64)
        times = np.arange(len(file_scores) + 1) * hop_s
        scores[file.name] = create_score_dataframe(file_scores, times, ["gunshot"])
        truth[file.name] = [(a, min(b, float(times[-1])), "gunshot") for a, b in file.truth]
        durations[file.name] = float(times[-1])
    value = intersection_based.psds(
        scores=scores,
        ground_truth=truth,
        audio_durations=durations,
        dtc_threshold=OVERLAP,
        gtc_threshold=OVERLAP,
        cttc_threshold=None,
        alpha_ct=0.0,
        alpha_st=0.0,
        max_efpr=MAX_FALSE_ALARMS_H,
        unit_of_time="hour",
    )[0]
    return round(float(value), 3)
