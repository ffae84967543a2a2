"""Calibration of a detector on val scenes: a temperature for its scores, and its thresholds."""

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
"""The most false alarms an hour of film-like scenes that each of these points may raise."""
SEGMENT_S = 1.0
EVENT_MARGIN_S = 0.5


def collect_second_peaks(
    grid: FrameGrid, files: Sequence[ScoredFile]
) -> tuple[np.ndarray, np.ndarray]:
    """The peak logit of each second, (n,) float64, and whether an event begins in it, (n,) bool.
    Seconds that hold only the decay of an event are left out."""
    length = round(SEGMENT_S * grid.rate / grid.frame)
    logits, positive = [], []
    for file in files:
        p = np.clip(file.frames.scores[:, 0].astype(np.float64), 1e-7, 1.0 - 1e-7)
        count = len(p) // length
        peaks = np.log(p / (1.0 - p))[: count * length].reshape(count, length).max(axis=1)
        start = np.arange(count) * SEGMENT_S
        end = start + SEGMENT_S
        begins, decays = np.zeros(count, bool), np.zeros(count, bool)
        for onset, offset in file.truth:
            begins |= (start < onset + EVENT_MARGIN_S) & (end > onset)
            decays |= (start < offset + EVENT_MARGIN_S) & (end > onset - EVENT_MARGIN_S)
        included = begins | ~decays
        logits.append(peaks[included])
        positive.append(begins[included])
    return np.concatenate(logits), np.concatenate(positive)


def fit_temperature(logits: np.ndarray, positive: np.ndarray) -> float:
    """The temperature in [0.2, 5] of the highest likelihood of the seconds' truth (Guo et al.,
    *On Calibration of Modern Neural Networks*, ICML 2017). Both arrays are (n,)."""

    def loss(log_t: float) -> float:
        z = np.where(positive, logits, -logits) / np.exp(log_t)
        return float(np.mean(np.logaddexp(0.0, -z)))

    best = minimize_scalar(loss, bounds=(np.log(0.2), np.log(5.0)), method="bounded")
    return float(np.exp(best.x))  # type: ignore[attr-defined]


def compute_calibration_error(logits: np.ndarray, positive: np.ndarray, bins: int = 10) -> float:
    """Expected calibration error: the mean distance between confidence and truth over bins of
    probability, weighted by the number of seconds in each bin. Both arrays are (n,)."""
    p = 1.0 / (1.0 + np.exp(-logits))
    index = np.minimum((p * bins).astype(int), bins - 1)
    distances = [
        abs(p[index == b].mean() - positive[index == b].mean()) * np.mean(index == b)
        for b in np.unique(index)
    ]
    return float(np.sum(distances))


def apply_temperature(params: Params, temperature: float) -> Params:
    """The weights with the logit of the gunshot head divided by a temperature. The calibration is
    part of the weights, so bundles need no field for it."""
    head = {name: x.copy() for name, x in params["head"].items()}
    for x in head.values():
        x[..., GUNSHOT] /= np.float32(temperature)
    return {**params, "head": head}


def choose_operating_points(
    grid: FrameGrid, files: Sequence[ScoredFile]
) -> dict[str, OperatingPoint]:
    """The operating points of a detector, each with its metrics on all scenes.

    ``sensitive`` has the best F1 on the rare scenes. ``balanced`` and ``strict`` have the lowest
    threshold from which on no threshold exceeds their budget of false alarms on the film-like
    scenes (BUDGETS_H).
    """
    kinds, candidates = group_by_kind(files), list_candidate_thresholds()
    hours = scene_metrics.total_hours(grid, kinds["film"])

    def count(kind: str, threshold: float) -> EventCounts:
        return scene_metrics.count_at_threshold(grid, kinds[kind], DecisionConfig(threshold))

    chosen = {"sensitive": max(candidates, key=lambda t: count("rare", t).f1)}
    rates = [count("film", t).false_alarms / hours for t in candidates]
    for name, budget in BUDGETS_H.items():
        exceeding = [i for i, rate in enumerate(rates) if rate > budget]
        first = exceeding[-1] + 1 if exceeding else 0
        chosen[name] = candidates[min(first, len(rates) - 1)]
    return {
        name: OperatingPoint(round(t, 4), _measure_point(grid, kinds, round(t, 4)))
        for name, t in chosen.items()
    }


def list_candidate_thresholds() -> list[float]:
    """80 thresholds from 0.02 to 0.9995, evenly spaced in logit."""
    logits = np.linspace(np.log(0.02 / 0.98), np.log(0.9995 / 0.0005), 80)
    return [float(t) for t in 1.0 / (1.0 + np.exp(-logits))]


def _measure_point(grid: FrameGrid, kinds: dict[str, list[ScoredFile]], threshold: float) -> dict:
    measured = {}
    for kind, files in kinds.items():
        row = scene_metrics.compute_point_metrics(grid, files, threshold)
        measured[f"val_{kind}"] = {
            "hours": round(scene_metrics.total_hours(grid, files), 2),
            **{name: row[name] for name in ("recall", "false_alarms_h", "f1")},
            **{f"{n}_95": row["interval"][n] for n in ("recall", "false_alarms_h")},
        }
    return measured
