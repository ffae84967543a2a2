"""The background as JSON: the state that a daemon keeps over restarts, and the prior in the card of
a bundle.

A card may have the key ``background``, and a bundle of two stages also ``stage_background``, for
the scores of its first stage where the second is off:

    {"lowest": -14.0, "step": 0.1, "seconds": 180000.0, "weight_s": 3600.0, "starts": [...]}

``starts`` are the events that began above each level in ``seconds`` of varied ambience without
gunshots. `describe_prior` makes it from a background that forgets nothing.

The key ``shot_scores``, or ``stage_shot_scores``, has the highest scores of shots in validation
scenes, counted between each level and the next: `describe_shots` makes it.

    {"lowest": -14.0, "step": 0.1, "counts": [...]}
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from streamdet.detection import background
from streamdet.detection.background import (
    COUNT,
    LOWEST,
    STEP,
    BackgroundConfig,
    BackgroundState,
    Prior,
    Report,
)

SCHEMA = "streamdet.background/1"
PRIOR_WEIGHT_S = 3_600.0
"""The weight of a prior whose card states none."""
_KEY_LENGTH = 200
_SHOT_WIDTH = 0.3


class BackgroundError(ValueError):
    """A stored background or a prior is damaged, or of another version or model."""


def to_json(state: BackgroundState, model: str) -> dict[str, Any]:
    """The state as a JSON object, without the open stream. ``model`` identifies what made the
    scores: a background is of use for the same scores only."""
    return {
        "schema": SCHEMA,
        "model": model,
        **_levels(),
        "second": state.second,
        "seconds": state.seconds,
        "allowance": state.allowance,
        "starts": [round(value, 6) for value in state.starts.tolist()],
        "exposure": [round(value, 3) for value in state.exposure.tolist()],
        "reports": [list(report) for report in state.reports],
    }


def from_json(config: BackgroundConfig, record: object, model: str) -> BackgroundState:
    """The state of `to_json`. Raises BackgroundError if it is damaged, or of another ``model``."""
    if not isinstance(record, Mapping) or record.get("schema") != SCHEMA:
        raise BackgroundError(f"not a background of this version ({SCHEMA})")
    if record.get("model") != model:
        raise BackgroundError("it was made with another model")
    try:
        _check_levels(record)
        second, seconds = int(record["second"]), float(record["seconds"])
        starts, exposure = (_read_levels(record[key]) for key in ("starts", "exposure"))
        allowance = min(config.skip_s, float(record["allowance"]))
        if second < 0 or not 0.0 <= seconds < math.inf or not allowance >= 0.0:
            raise ValueError("negative time")
        reports = tuple(_read_report(row) for row in record["reports"])
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise BackgroundError(f"damaged background: {error!r}") from error
    stream = background.open_stream(config, second)
    return BackgroundState(
        second, starts, exposure, seconds, allowance, reports[-background.MAX_REPORTS :], stream
    )


def describe_prior(state: BackgroundState, weight_s: float = PRIOR_WEIGHT_S) -> dict[str, Any]:
    """The prior of a card, from a background of infinite ``half_life_s`` without reported
    events."""
    starts = [round(value, 3) for value in state.starts.tolist()]
    return {**_levels(), "seconds": state.seconds, "weight_s": weight_s, "starts": starts}


def read_prior(card: Mapping[str, Any], threshold: float, *, first_stage: bool = False) -> Prior:
    """The prior of a card, or of its ``first_stage``. Raises BackgroundError.

    If the card has none: one false alarm a day at the probability ``threshold``, and e times more
    for each logit below it.
    """
    record = card.get("stage_background" if first_stage else "background")
    if record is None:
        excess = background.levels() - float(background.logit(threshold))
        return Prior(np.minimum(np.exp(-excess) / 86_400.0, 1.0), PRIOR_WEIGHT_S)
    try:
        _check_levels(record)
        seconds, weight_s = float(record["seconds"]), float(record.get("weight_s", PRIOR_WEIGHT_S))
        if not (0.0 < seconds < math.inf and 0.0 < weight_s < math.inf):
            raise ValueError("seconds and weight_s must be positive")
        return Prior(_read_levels(record["starts"]) / seconds, weight_s)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BackgroundError(f"invalid background: {error!r}") from error


def describe_shots(scores: np.ndarray) -> dict[str, Any]:
    """The shots of a card, from the highest score of each, (n,) probabilities."""
    bins = np.floor((background.logit(scores) - LOWEST) / STEP).astype(int)
    counts = np.bincount(np.clip(bins, 0, COUNT - 1), minlength=COUNT)
    return {**_levels(), "counts": counts.tolist()}


def read_shots(card: Mapping[str, Any], *, first_stage: bool = False) -> np.ndarray:
    """The share of shots whose highest score is between each level and the next, (COUNT,) float64,
    smoothed over `_SHOT_WIDTH` logits. Raises BackgroundError.

    If the card has none: the same for all scores from 0.5 to 0.999.
    """
    levels = background.levels()
    record = card.get("stage_shot_scores" if first_stage else "shot_scores")
    if record is None:
        shares = ((levels >= 0.0) & (levels < 7.0)).astype(np.float64)
        return shares / shares.sum()
    try:
        _check_levels(record)
        counts = _read_levels(record["counts"])
        if not counts.any():
            raise ValueError("no shots")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BackgroundError(f"invalid shot_scores: {error!r}") from error
    smoothed = np.exp(-0.5 * ((levels[:, None] - levels) / _SHOT_WIDTH) ** 2) @ counts
    return smoothed / smoothed.sum()


def _levels() -> dict[str, float]:
    return {"lowest": LOWEST, "step": STEP}


def _check_levels(record: Mapping[str, Any]) -> None:
    if (record["lowest"], record["step"]) != (LOWEST, STEP):
        raise ValueError(f"its levels are not {LOWEST:g} and up in steps of {STEP:g}")


def _read_levels(values: object) -> np.ndarray:
    array = np.array(values, np.float64)
    if array.shape != (COUNT,) or not np.isfinite(array).all() or (array < 0.0).any():
        raise ValueError(f"expected {COUNT} values from 0 on")
    return array


def _read_report(row: Any) -> Report:
    second, score, onset, key, verdict = row
    if verdict not in (None, True, False) or not math.isfinite(score):
        raise ValueError(f"a reported event {row!r}")
    return Report(int(second), float(score), int(onset), str(key)[:_KEY_LENGTH], verdict)
