"""Do budgets of false alarms hold? Streams of places, judged by fixed thresholds and by budgets.

Each place (`train.data.places`) has a stream to adapt on and another one to measure on. The first
has a shot an hour that nobody has labelled. It is used once more with ten and once without shots.
An event of the second is a false alarm if it touches no true event, with the collar of all metrics.
Intervals are Poisson (Garwood, *Fiducial limits for the Poisson distribution*, Biometrika 28,
1936); they take false alarms to be independent, but a clip that raises one raises it whenever the
stream repeats it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from streamdet.budget import parse_budget
from streamdet.detection import adaptive_threshold, background
from streamdet.detection.window_scorer import WindowScorer
from streamdet.model.bundle import Bundle
from streamdet.pipeline.budget_threshold import BudgetThreshold, set_up_budget
from train.data import places
from train.data.corpus import Corpus
from train.data.place_recipes import Place
from train.data.places import Material
from train.errors import TrainError
from train.evaluation.budget_outcomes import Outcome, count_outcome
from train.evaluation.stream_scores import ScoredStream, hash_recipe, replay, score_stream

FIXED = 0.873
BUDGETS = ("1/hour", "1/day")
ADAPTATION = {
    "": 1.0,
    f" with {places.SHOTS_H:g} shots an hour": places.SHOTS_H,
    " without shots": 0.0,
}
"""What is added to the names of settings for the shots an hour in the stream to adapt on."""
NAMED = {"sensitive": "1/hour", "balanced": "1/day", "strict": "1/week"}
FIRST_S = 600.0


class StreamLengths(NamedTuple):
    """Pieces of 10 minutes to adapt and to measure on. The first stream is played ``passes`` times,
    for a day."""

    adaptation: int = 6
    evaluation: int = 24
    passes: int = 24


class RateCurves(NamedTuple):
    """False alarms per second above each of `background.levels`, (levels,) float64: estimated after
    one pass of the last stream to adapt on, and counted in the one that is measured on."""

    estimated: np.ndarray
    counted: np.ndarray


@dataclass(frozen=True)
class PlaceOutcome:
    """What all settings find in a place."""

    place: Place
    material: Material
    outcomes: list[Outcome]
    curves: RateCurves


def measure_places(
    bundle: Bundle,
    corpus: Corpus,
    split: str,
    cache: Path,
    scorer: WindowScorer | None,
    lengths: StreamLengths,
    names: Sequence[str] = (),
    report: Callable[[str], None] = lambda _: None,
) -> list[PlaceOutcome]:
    """Measure every place that the split has clips for, or those with the ``names``. ``report`` is
    called with a line about each. Raises TrainError if there is none, or a name is unknown."""
    known = {place.name: place for place in places.list_places(corpus, split)}
    unknown = [name for name in names if name not in known]
    if unknown or not known:
        problem = f"no place {', '.join(unknown)}" if unknown else "no places"
        choice = f"Use {', '.join(known)}" if known else "Prepare more clips"
        raise TrainError(f"{problem} among the {split} clips. {choice}.")
    measured = []
    for place in (known[name] for name in names or known):
        pieces = [(place, lengths.adaptation)]
        adaptation = {
            name: open_stream(bundle, corpus, split, cache, pieces, 1, shots_h)
            for name, shots_h in ADAPTATION.items()
        }
        pieces = [(place, lengths.evaluation)]
        evaluation = open_stream(bundle, corpus, split, cache, pieces, 2, places.SHOTS_H)
        outcomes, curves = measure_place(bundle, scorer, adaptation, evaluation, lengths.passes)
        report(f"{split}: {place.name} measured")
        material = places.describe_material(corpus, split, place)
        measured.append(PlaceOutcome(place, material, outcomes, curves))
    return measured


def open_stream(
    bundle: Bundle,
    corpus: Corpus,
    split: str,
    cache: Path,
    schedule: Sequence[tuple[Place, int]],
    seed: int,
    shots_h: float,
) -> ScoredStream:
    """Make and score a stream, or read its frames from the folder ``cache``."""
    constants = (places.PIECE_S, shots_h, places.EBRS_DB, places.FADE_S)
    clips = [(c.path, c.length) for c in corpus.clips if c.split == split]
    recipe = {"bundle": bundle.sha256, "schedule": list(schedule), "seed": seed}
    name = hash_recipe({**recipe, "constants": constants, "clips": clips})
    parts = places.make_stream(corpus, split, schedule, seed, shots_h)
    return score_stream(bundle, parts, cache / f"{split}-{name}")


def measure_place(
    bundle: Bundle,
    scorer: WindowScorer | None,
    adaptation: Mapping[str, ScoredStream],
    evaluation: ScoredStream,
    passes: int,
) -> tuple[list[Outcome], RateCurves]:
    """Measure all settings on one stream, after adaptation on each of the others, whose names are
    added to those of the settings."""

    def judge(
        setting: str, threshold: float | BudgetThreshold, budget: float | None = None
    ) -> Outcome:
        played = replay(bundle, evaluation, scorer, threshold)
        return count_outcome(setting, budget, played.alarms, played.thresholds, evaluation)

    outcomes = [judge(name, threshold) for name, threshold in list_fixed_thresholds(bundle)]
    estimated = np.zeros(background.COUNT)
    for text in BUDGETS:
        rate = parse_budget(text)
        for suffix, stream in adaptation.items():
            for name, known, record in adapt(bundle, scorer, stream, rate, passes):
                setting = f"{text}, {name}{suffix}"
                outcomes.append(judge(setting, known.threshold, rate))
                if record is not None and suffix == "":
                    saved = BudgetThreshold(set_up_budget(bundle, rate), record)
                    outcomes.append(judge(f"{setting}, then adapting", saved, rate))
                if record is not None:
                    estimated = known.rates
    counted = count_rates(bundle, scorer, evaluation)
    return outcomes, RateCurves(estimated, counted)


def list_fixed_thresholds(bundle: Bundle) -> list[tuple[str, float]]:
    """The settings that are the same in every place, with their thresholds: fixed ones, and budgets
    before any adaptation."""
    points = {name: point.threshold for name, point in bundle.operating_points.items()}
    named = [
        (f"{name} ({budget})", points[name]) for name, budget in NAMED.items() if name in points
    ]
    default = points[bundle.default_point]
    start = [(f"{text}, start", start_threshold(bundle, parse_budget(text))) for text in BUDGETS]
    return [(f"default {default:.3f}", default), (f"fixed {FIXED:g}", FIXED), *named, *start]


def start_threshold(bundle: Bundle, budget: float) -> float:
    """The threshold of a budget, in events per second, under the bundle's prior."""
    setup = set_up_budget(bundle, budget)
    return adaptive_threshold.init(setup.config, setup.prior).threshold


class Adapted(NamedTuple):
    """A threshold after adaptation, and the estimated rates that it follows from."""

    threshold: float
    rates: np.ndarray


def adapt(
    bundle: Bundle, scorer: WindowScorer | None, stream: ScoredStream, budget: float, passes: int
) -> list[tuple[str, Adapted, dict | None]]:
    """Adapt to a stream that is played ``passes`` times.

    Returns the times of adaptation with what is known then: 10 minutes, one pass, all passes. The
    second also has the record of `BudgetThreshold.record`.
    """
    source = BudgetThreshold(set_up_budget(bundle, budget))
    early: list[Adapted] = []

    def look(seconds: float) -> None:
        if not early and seconds >= FIRST_S - 1.0:
            early.append(_describe(source))

    stages: list[tuple[str, Adapted, dict | None]] = []
    seconds = stream.seconds
    for played in range(1, passes + 1):
        replay(bundle, stream, scorer, source, on_block=look if played == 1 else None)
        if played == 1:
            first = early[0] if early else _describe(source)
            stages.append((format_time(min(FIRST_S, seconds)), first, None))
            stages.append((format_time(seconds), _describe(source), source.record()))
    return [*stages, (format_time(passes * seconds), _describe(source), None)]


def count_rates(bundle: Bundle, scorer: WindowScorer | None, stream: ScoredStream) -> np.ndarray:
    """The false alarms per second above each level in a stream without its true events: (levels,)
    float64. With a second stage, levels below the candidate threshold count the first one's."""
    config = set_up_budget(bundle, 1.0, math.inf).config.background
    scores = replay(bundle, stream, scorer, FIXED).scores.copy()
    for onset_s, offset_s in stream.spans:
        first, last = (round(at / config.frame_s) for at in (onset_s - 1.0, offset_s + 1.0))
        scores[max(0, first) : last] = 0.0
    state = background.step(config, background.init(config), scores, 1.0)
    state = background.finish(config, state)
    rates = state.starts / np.maximum(state.exposure, 1.0)
    return np.maximum.accumulate(rates[::-1])[::-1]


def format_time(seconds: float) -> str:
    """Minutes, or hours from an hour on, such as ``10 min`` or ``24 h``."""
    minutes = round(seconds / 60.0)
    return f"{round(seconds / 3600.0)} h" if minutes >= 60 else f"{minutes} min"


def _describe(source: BudgetThreshold) -> Adapted:
    return Adapted(source.threshold, source.state.curve.rates)
