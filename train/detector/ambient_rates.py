"""How often the scores of a bundle would begin an event in ambience without gunshots.

The result is the prior of the bundle's card (`streamdet.detection.background_format`): what a
source is taken to be like before its own background is known.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from streamdet.detection import background, background_format, false_alarm_rate
from streamdet.detection.background import COUNT, BackgroundConfig, BackgroundState
from streamdet.detection.false_alarm_rate import RateCurve, TailConfig
from streamdet.model.bundle import Bundle
from train.data.ambience import LEVELS_DB, SHARES, AmbientStream
from train.errors import TrainError
from train.evaluation.scored_sets import SampleScorer

TAIL = TailConfig(lowest=0.0, shape_sd=0.3)
"""The pooled tail starts at a score of 0.5 or above. Its shape is less bound to 0 than that of a
source, because it has more events."""


class AmbientBackgrounds(NamedTuple):
    """The background of each kind of ambience: of the final scores, and of the first stage alone.
    ``stage`` is empty for a bundle of one stage."""

    final: dict[str, BackgroundState]
    stage: dict[str, BackgroundState]


def measure_backgrounds(bundle: Bundle, streams: Iterable[AmbientStream]) -> AmbientBackgrounds:
    """Score streams without gunshots, and count how many events would begin at each level."""
    scorer = SampleScorer(bundle)
    config = _make_config(scorer.grid.frame / scorer.grid.rate)
    known = AmbientBackgrounds({}, {})
    for stream in streams:
        frames, stage = scorer.score(stream.samples)
        _add(config, known.final, stream.kind, frames.scores[:, 0])
        if stage is not None:
            _add(config, known.stage, stream.kind, stage.scores)
    return known


def describe_background(kinds: Mapping[str, BackgroundState], split: str) -> dict[str, Any]:
    """The prior of a card, with what it was measured on: the split, the levels of the sounds, and
    for each kind its share, its hours and its events at a score of 0.5."""
    seconds = sum(state.seconds for state in kinds.values())
    rates = mix_rates(kinds)
    empty = background.init(_make_config(1.0))
    record = background_format.describe_prior(
        empty._replace(starts=rates * seconds, seconds=round(seconds, 2))
    )
    half = round(-background.LOWEST / background.STEP)
    measured = {
        kind: {
            "share": round(share, 4),
            "hours": round(kinds[kind].seconds / 3_600.0, 3),
            "events": round(float(kinds[kind].starts[half])),
        }
        for kind, share in _share_time(kinds).items()
    }
    return {"split": split, "levels_db": list(LEVELS_DB), "ambience": measured, **record}


def read_curve(card: Mapping[str, Any], *, first_stage: bool = False) -> RateCurve:
    """The false alarms of the prior of a card."""
    prior = background_format.read_prior(card, 0.5, first_stage=first_stage)
    return RateCurve(np.maximum(prior.rates, 1e-12), None)


def mix_rates(kinds: Mapping[str, BackgroundState]) -> np.ndarray:
    """Events per second above each level where each kind sounds for its share of the time, (COUNT,)
    float64.

    Below the tail they are counted. Few events of the most frequent kinds reach the tail, so all
    kinds are taken to have a tail of the same form, fitted to their events together, from their
    own rates on (regional frequency analysis; Hosking & Wallis, *Regional Frequency Analysis*,
    1997, chapter 1). Raises TrainError if nothing was measured.
    """
    seconds = sum(state.seconds for state in kinds.values())
    if not seconds:
        raise TrainError("no second of ambience to measure the background on")
    config = _make_config(1.0)
    pooled = background.init(config)._replace(
        starts=np.sum([state.starts for state in kinds.values()], axis=0),
        exposure=np.full(COUNT, seconds),
        seconds=seconds,
    )
    curve = false_alarm_rate.estimate_rates(config, TAIL, pooled)
    shares = _share_time(kinds)
    counted = np.sum([shares[k] * kinds[k].starts / kinds[k].seconds for k in shares], axis=0)
    counted = np.maximum.accumulate(counted[::-1])[::-1]
    if curve.tail is None:
        return counted
    start = round((curve.tail.start - background.LOWEST) / background.STEP)
    form = curve.rates[start:] / curve.rates[start]
    return np.concatenate([counted[:start], counted[start] * form])


def _share_time(kinds: Mapping[str, BackgroundState]) -> dict[str, float]:
    """The shares of the kinds that were heard, of 1 in total."""
    heard = {kind: share for kind, share in SHARES.items() if kind in kinds}
    return {kind: share / sum(heard.values()) for kind, share in heard.items()}


def _make_config(frame_s: float) -> BackgroundConfig:
    return BackgroundConfig(frame_s, half_life_s=math.inf)


def _add(
    config: BackgroundConfig, kinds: dict[str, BackgroundState], kind: str, scores: np.ndarray
) -> None:
    state = kinds.get(kind) or background.init(config)
    kinds[kind] = background.finish(config, background.step(config, state, scores, 1.0))
