"""Scores that mean what they say, and thresholds by what they cost: all from val scenes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.optimize import minimize_scalar

from streamdet.detection.decision import DecisionConfig
from streamdet.detection.frames import FrameGrid
from streamdet.model.bundle import OperatingPoint
from streamdet.model.config import Params
from train.data.labels import GUNSHOT
from train.evaluation import scene_metrics
from train.evaluation.metrics import EventCounts
from train.evaluation.scored_sets import ScoredFile, group_by_kind

BUDGETS_H = {"balanced": 1.0, "strict": 0.1}
"""False alarms an hour on film-like scenes that these points may cost."""
SEGMENT_S = 1.0
HEARD_S = 0.5


def seconds(grid: FrameGrid, files: Sequence[ScoredFile]) -> tuple[np.ndarray, np.ndarray]:
    """The peak logit of each second, (n,) float64, and whether an event begins in it, (n,)
    bool; seconds that hold only the decay of one are left out."""
    length = round(SEGMENT_S * grid.rate / grid.frame)
    logits, positive = [], []
    for file in files:
        p = np.clip(file.frames.scores[:, 0].astype(np.float64), 1e-7, 1.0 - 1e-7)
        count = len(p) // length
        peaks = np.log(p / (1.0 - p))[: count * length].reshape(count, length).max(axis=1)
        start = np.arange(count) * SEGMENT_S
        begins, decays = np.zeros(count, bool), np.zeros(count, bool)
        for onset, offset in file.truth:
            begins |= (start < onset + HEARD_S) & (start + SEGMENT_S > onset)
            decays |= (start < offset + HEARD_S) & (start + SEGMENT_S > onset - HEARD_S)
        kept = begins | ~decays
        logits.append(peaks[kept])
        positive.append(begins[kept])
    return np.concatenate(logits), np.concatenate(positive)


def fit_temperature(logits: np.ndarray, positive: np.ndarray) -> float:
    """The temperature in [0.2, 5] that makes the seconds' truth likeliest (Guo et al., *On
    Calibration of Modern Neural Networks*, ICML 2017)."""

    def loss(log_t: float) -> float:
        z = np.where(positive, logits, -logits) / np.exp(log_t)
        return float(np.mean(np.logaddexp(0.0, -z)))

    best = minimize_scalar(loss, bounds=(np.log(0.2), np.log(5.0)), method="bounded")
    return float(np.exp(best.x))  # type: ignore[attr-defined]


def calibration_error(logits: np.ndarray, positive: np.ndarray, bins: int = 10) -> float:
    """Expected calibration error: the mean distance of confidence and truth, by ten bins of
    probability, weighted by how many seconds are in each."""
    p = 1.0 / (1.0 + np.exp(-logits))
    which = np.minimum((p * bins).astype(int), bins - 1)
    apart = [
        abs(p[which == b].mean() - positive[which == b].mean()) * np.mean(which == b)
        for b in np.unique(which)
    ]
    return float(np.sum(apart))


def cooled(params: Params, temperature: float) -> Params:
    """The weights with the gunshot head's logit divided by a temperature: a score is
    calibrated without a knob that a bundle would have to carry."""
    head = {name: x.copy() for name, x in params["head"].items()}
    for x in head.values():
        x[..., GUNSHOT] /= np.float32(temperature)
    return {**params, "head": head}


def choose_points(grid: FrameGrid, files: Sequence[ScoredFile]) -> dict[str, OperatingPoint]:
    """``sensitive``: the threshold of the best F1 on the rare scenes. For each budget of
    BUDGETS_H the lowest threshold whose false alarms, and those of all higher ones, keep it on
    the film-like ones. Each with what it measured on all."""
    kinds, candidates = group_by_kind(files), candidate_thresholds()
    hours = scene_metrics.total_hours(grid, kinds["film"])

    def counts(kind: str, threshold: float) -> EventCounts:
        return scene_metrics.count_at_threshold(grid, kinds[kind], DecisionConfig(threshold))

    chosen = {"sensitive": max(candidates, key=lambda t: counts("rare", t).f1)}
    rates = [counts("film", t).false_alarms / hours for t in candidates]
    for name, budget in BUDGETS_H.items():
        dear = [i for i, rate in enumerate(rates) if rate > budget]
        chosen[name] = candidates[min(dear[-1] + 1 if dear else 0, len(rates) - 1)]
    return {
        name: OperatingPoint(round(t, 4), _measured(grid, kinds, round(t, 4)))
        for name, t in chosen.items()
    }


def candidate_thresholds() -> list[float]:
    """80 thresholds, evenly apart in logit from 0.02 to 0.9995."""
    logits = np.linspace(np.log(0.02 / 0.98), np.log(0.9995 / 0.0005), 80)
    return [float(t) for t in 1.0 / (1.0 + np.exp(-logits))]


def _measured(grid: FrameGrid, kinds: dict[str, list[ScoredFile]], threshold: float) -> dict:
    measured = {}
    for kind, files in kinds.items():
        row = scene_metrics.compute_point_metrics(grid, files, threshold)
        measured[f"val_{kind}"] = {
            "hours": round(scene_metrics.total_hours(grid, files), 2),
            **{name: row[name] for name in ("recall", "false_alarms_h", "f1")},
            **{f"{n}_95": row["interval"][n] for n in ("recall", "false_alarms_h")},
        }
    return measured
