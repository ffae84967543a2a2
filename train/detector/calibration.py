"""Calibration of a detector on val scenes: a temperature for its scores, and its thresholds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from scipy.optimize import minimize, minimize_scalar

from streamdet.detection.decision import DecisionConfig
from streamdet.detection.frames import FrameGrid
from streamdet.model.bundle import OperatingPoint
from streamdet.model.config import Params
from streamdet.scoring.matching import COLLAR_S
from train.data.labels import GUNSHOT
from train.errors import TrainError
from train.evaluation import scene_metrics
from train.evaluation.metrics import EventCounts
from train.evaluation.scored_sets import ScoredFile, group_by_kind

BUDGETS_H = {"balanced": 1.0, "strict": 0.1}
"""The most false alarms an hour of film-like scenes that each of these points may raise."""
LOWEST_CANDIDATE, HIGHEST_CANDIDATE, CANDIDATE_RECALL = 0.01, 0.3, 0.95


def fit_temperature(logits: np.ndarray, positive: np.ndarray) -> float:
    """The temperature in [0.2, 5] of the highest likelihood of the seconds' truth (Guo et al.,
    *On Calibration of Modern Neural Networks*, ICML 2017). Both arrays are (n,)."""

    def loss(log_t: float) -> float:
        z = np.where(positive, logits, -logits) / np.exp(log_t)
        return float(np.mean(np.logaddexp(0.0, -z)))

    best = minimize_scalar(loss, bounds=(np.log(0.2), np.log(5.0)), method="bounded")
    return float(np.exp(best.x))  # type: ignore[attr-defined]


def fit_scale_and_bias(kinds: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[float, float]:
    """The temperature in [0.2, 5] and the bias of the highest likelihood of the truth (Platt
    scaling; Platt, *Probabilistic Outputs for Support Vector Machines*, 1999).

    ``kinds`` has the ``(n,)`` logits and truth of each kind of scene. All kinds have the same
    weight, however long they are.
    """

    def loss(x: np.ndarray) -> float:
        means = []
        for logits, positive in kinds:
            z = logits / np.exp(x[0]) + x[1]
            means.append(np.mean(np.logaddexp(0.0, np.where(positive, -z, z))))
        return float(np.mean(means))

    bounds = [(np.log(0.2), np.log(5.0)), (-10.0, 10.0)]
    best = minimize(loss, np.zeros(2), bounds=bounds, method="L-BFGS-B")
    return float(np.exp(best.x[0])), float(best.x[1])


def apply_temperature(params: Params, temperature: float, bias: float = 0.0) -> Params:
    """The weights with the logit of the gunshot head divided by a temperature, plus a bias. The
    calibration is part of the weights, so bundles need no field for it."""
    head = {name: x.copy() for name, x in params["head"].items()}
    for x in head.values():
        x[..., GUNSHOT] /= np.float32(temperature)
    head["bias"][..., GUNSHOT] += np.float32(bias)
    return {**params, "head": head}


def choose_operating_points(
    grid: FrameGrid,
    files: Sequence[ScoredFile],
    stage_points: Mapping[str, OperatingPoint] | None = None,
) -> dict[str, OperatingPoint]:
    """The operating points of a detector, each with its metrics on all scenes. ``stage_points`` are
    those of the first stage alone.

    ``sensitive`` has the best F1 on the rare scenes. ``balanced`` and ``strict`` have the lowest
    threshold from which on no threshold exceeds their budget of false alarms on the film-like
    scenes (BUDGETS_H). Raises TrainError without rare or film-like scenes.
    """
    kinds, candidates = group_by_kind(files), list_candidate_thresholds()
    missing = [f"{kind}/" for kind in ("rare", "film") if kind not in kinds]
    if missing:
        raise TrainError(
            f"the val scenes have none in {' and '.join(missing)}, which the thresholds are chosen "
            "on. Make them with `python -m train mixtures`."
        )
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
        name: OperatingPoint(
            round(t, 4),
            _measure_point(grid, kinds, round(t, 4)),
            None if stage_points is None else stage_points[name].threshold,
        )
        for name, t in chosen.items()
    }


def choose_candidate_threshold(grid: FrameGrid, files: Sequence[ScoredFile]) -> float:
    """The threshold of the first stage that 95 % of the events reach which reach 0.01, over all
    kinds of scenes, at most 0.3. On val the verifier confirms few of the others, and at a lower
    threshold it has more windows to score.

    ``files`` are scored by the first stage alone.
    """
    frame_s = grid.frame / grid.rate
    peaks = []
    for file in files:
        scores = file.frames.scores[:, 0]
        for onset, offset in file.truth:
            first = max(0, int((onset - COLLAR_S) / frame_s))
            last = int((offset + COLLAR_S) / frame_s) + 1
            peaks.append(float(scores[first:last].max(initial=0.0)))
    found = [p for p in peaks if p >= LOWEST_CANDIDATE] or [LOWEST_CANDIDATE]
    return float(min(np.quantile(found, 1.0 - CANDIDATE_RECALL), HIGHEST_CANDIDATE))


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
