"""The operating points of a detector: a default, and budgets of false alarms in ambience."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from streamdet.budget import parse_budget
from streamdet.detection import background_format, false_alarm_rate
from streamdet.detection.adaptive_threshold import ThresholdConfig, budget_threshold
from streamdet.detection.background import BackgroundConfig
from streamdet.detection.decision import DecisionConfig
from streamdet.detection.false_alarm_rate import RateCurve
from streamdet.detection.frames import FrameGrid
from streamdet.model.bundle import Bundle, OperatingPoint
from train.data.ambience import make_ambience
from train.data.corpus import Corpus
from train.data.mixtures import make_level_mixtures
from train.detector import ambient_rates
from train.errors import TrainError
from train.evaluation import scene_metrics
from train.evaluation.scored_sets import (
    ScoredFile,
    first_stage_only,
    group_by_kind,
    score_mixtures,
)

BUDGETS = {"sensitive": "1/hour", "balanced": "1/day", "strict": "1/week"}
DEFAULT = "default"
SPLIT, LEVEL_SEED = "val", 23
SHOT_MARGINS_S = (0.2, 0.6)
"""Seconds before and after an event in which its highest score may be."""
LEVELS_DB, LEVEL_SCENES = (0.0, 6.0, 12.0, 20.0), 320
"""Event-to-background ratios, and the number of scenes with a shot at one of them."""


class MeasuredPoints(NamedTuple):
    """Operating points, and the keys of the card with the background they follow from and with the
    scores of shots."""

    points: dict[str, OperatingPoint]
    about: dict[str, Any]


def measure_operating_points(
    bundle: Bundle, corpus: Corpus, files: Sequence[ScoredFile]
) -> MeasuredPoints:
    """Measure the background of a bundle in the ambience of the val clips, and choose its operating
    points. ``files`` are the val scenes, scored by the bundle."""
    known = ambient_rates.measure_backgrounds(bundle, make_ambience(corpus, SPLIT))
    about = {"background": ambient_rates.describe_background(known.final, SPLIT)}
    if known.stage:
        about["stage_background"] = ambient_rates.describe_background(known.stage, SPLIT)
    mixtures = make_level_mixtures(corpus, SPLIT, LEVEL_SEED, LEVEL_SCENES, LEVELS_DB)
    levels = score_mixtures(bundle, mixtures)
    grid = scene_metrics.make_frame_grid(bundle)
    about["shot_scores"] = background_format.describe_shots(list_shot_scores(grid, files))
    curve = ambient_rates.read_curve(about)
    chosen = choose_thresholds(grid, files, curve)
    points = {
        name: OperatingPoint(t, measure_point(grid, files, levels, curve, name, t))
        for name, t in chosen.items()
    }
    if known.stage:
        stage_curve = ambient_rates.read_curve(about, first_stage=True)
        stage_files = [first_stage_only(f) for f in files]
        shots = list_shot_scores(grid, stage_files)
        about["stage_shot_scores"] = background_format.describe_shots(shots)
        stage = choose_thresholds(grid, stage_files, stage_curve)
        points = {n: replace(point, stage_threshold=stage[n]) for n, point in points.items()}
    return MeasuredPoints(points, about)


def list_shot_scores(grid: FrameGrid, files: Sequence[ScoredFile]) -> np.ndarray:
    """The highest gunshot score of each event of the film-like scenes, (events,) float64; of all
    scenes if there are none. Budgets are for recordings that no one has cut to a shot."""
    frame_s = grid.frame / grid.rate
    highest = []
    for file in group_by_kind(files).get("film") or files:
        scores = file.frames.scores[:, 0]
        for event in file.events:
            first, last = event.span[0] - SHOT_MARGINS_S[0], event.span[1] + SHOT_MARGINS_S[1]
            span = scores[max(0, int(first / frame_s)) : int(last / frame_s) + 1]
            highest.append(float(span.max(initial=0.0)))
    return np.array(highest)


def choose_thresholds(
    grid: FrameGrid, files: Sequence[ScoredFile], curve: RateCurve
) -> dict[str, float]:
    """The threshold of each point: ``default`` has the best F1 on the rare scenes, the others are
    the budgets of BUDGETS at the rates of ``curve``. Raises TrainError without rare scenes."""
    rare = group_by_kind(files).get("rare")
    if not rare:
        raise TrainError(
            "the val scenes have none in rare/, which the default threshold is chosen on. Make "
            "them with `python -m train mixtures`."
        )

    def score(threshold: float) -> float:
        return scene_metrics.count_at_threshold(grid, rare, DecisionConfig(threshold)).f1

    background = BackgroundConfig(grid.frame / grid.rate)
    chosen = {
        name: budget_threshold(ThresholdConfig(parse_budget(budget), background), curve)
        for name, budget in BUDGETS.items()
    }
    chosen[DEFAULT] = max(list_candidate_thresholds(), key=score)
    return {name: round(threshold, 4) for name, threshold in chosen.items()}


def measure_point(
    grid: FrameGrid,
    files: Sequence[ScoredFile],
    levels: Sequence[ScoredFile],
    curve: RateCurve,
    name: str,
    threshold: float,
) -> dict[str, Any]:
    """The figures of a point: its budget, the false alarms expected in ambience, metrics of each
    kind of scene, and events found by EBR (``levels``) and by distance in the city."""
    per_day = false_alarm_rate.expected_per_day(curve, threshold)
    figures: dict[str, Any] = {"budget": BUDGETS[name]} if name in BUDGETS else {}
    figures["ambience"] = {"false_alarms_day": float(f"{per_day:.3g}")}
    found = {}
    for kind, of_kind in group_by_kind(files).items():
        row = scene_metrics.compute_point_metrics(grid, of_kind, threshold)
        figures[f"val_{kind}"] = {
            "hours": round(scene_metrics.total_hours(grid, of_kind), 2),
            **{key: row[key] for key in ("recall", "false_alarms_h", "f1")},
            **{f"{key}_95": row["interval"][key] for key in ("recall", "false_alarms_h")},
        }
        if kind == "city":
            found["val_city_found_by_distance"] = row["recall_by_ebr"]
    by_ebr = scene_metrics.compute_point_metrics(grid, levels, threshold)["recall_by_ebr"]
    figures["val_found_by_ebr"] = {f"{ebr} dB": share for ebr, share in by_ebr.items()}
    return figures | found


def list_candidate_thresholds() -> list[float]:
    """80 thresholds from 0.02 to 0.9995, evenly spaced in logit."""
    logits = np.linspace(np.log(0.02 / 0.98), np.log(0.9995 / 0.0005), 80)
    return [float(t) for t in 1.0 / (1.0 + np.exp(-logits))]
