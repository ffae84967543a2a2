"""Do budgets of false alarms hold? Streams of places, judged by fixed thresholds and by budgets.

Each place (`train.data.places`) has a stream to adapt on and another one to measure on. The first
is used as it is, with shots that nobody has labelled, and once more without shots. An event of the
second is a false alarm if it touches no true event, with the collar of all metrics. Intervals are
Poisson (Garwood, *Fiducial limits for the Poisson distribution*, Biometrika 28, 1936); they take
false alarms to be independent, but a clip that raises one raises it whenever the stream repeats it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.stats import chi2

from streamdet.budget import parse_budget
from streamdet.detection import adaptive_threshold, background
from streamdet.detection.window_scorer import WindowScorer
from streamdet.model.bundle import Bundle
from streamdet.pipeline.budget_threshold import BudgetThreshold, set_up_budget
from train.data import places
from train.data.corpus import Corpus
from train.data.mixtures import MixtureEvent
from train.data.place_recipes import Place
from train.data.places import Material
from train.evaluation.metrics import Alarm, match_events
from train.evaluation.stream_scores import ScoredStream, hash_recipe, replay, score_stream

FIXED = 0.873
BUDGETS = ("1/hour", "1/day")
WITHOUT = " without shots"
NAMED = {"sensitive": "1/hour", "balanced": "1/day", "strict": "1/week"}
FIRST_S = 600.0
HOUR_S = 3_600.0


class StreamLengths(NamedTuple):
    """Pieces of 10 minutes to adapt and to measure on. The first stream is played ``passes`` times,
    for a day."""

    adaptation: int = 6
    evaluation: int = 24
    passes: int = 24


@dataclass(frozen=True)
class Outcome:
    """What one setting finds in ``seconds`` of audio.

    ``budget`` is in events per second, None if the setting has none for this place. ``thresholds``:
    the lowest and the highest in force. ``found``: (found, all) shots by EBR in dB, or by distance.
    """

    setting: str
    budget: float | None
    thresholds: tuple[float, float]
    false_alarms: int
    seconds: float
    found: dict[str, tuple[int, int]]

    @property
    def rate_h(self) -> float:
        """False alarms per hour."""
        return self.false_alarms * HOUR_S / self.seconds

    @property
    def interval_h(self) -> tuple[float, float]:
        """The 95 % interval of the false alarms per hour."""
        low, high = poisson_interval(self.false_alarms)
        return low * HOUR_S / self.seconds, high * HOUR_S / self.seconds

    @property
    def verdict(self) -> str:
        """Whether the rate is within a factor of two of the budget: ``yes``; ``more`` or ``fewer``
        if the whole interval is outside; ``too short`` if only the rate is outside."""
        if self.budget is None:
            return ""
        low, high = (x * HOUR_S * self.budget for x in (0.5, 2.0))
        if low <= self.rate_h <= high:
            return "yes"
        if self.interval_h[0] > high:
            return "more"
        return "fewer" if self.interval_h[1] < low else "too short"


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


def poisson_interval(count: int) -> tuple[float, float]:
    """The exact 95 % interval of the mean of a Poisson count."""
    low = 0.0 if count == 0 else float(chi2.ppf(0.025, 2 * count)) / 2.0
    return low, float(chi2.ppf(0.975, 2 * count + 2)) / 2.0


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
    called with a line about each."""
    measured = []
    for place in places.list_places(corpus, split):
        if names and place.name not in names:
            continue
        known = [(place, lengths.adaptation)]
        shots, none = (
            open_stream(bundle, corpus, split, cache, known, 1, shots_h)
            for shots_h in (places.SHOTS_H, 0.0)
        )
        other = [(place, lengths.evaluation)]
        evaluation = open_stream(bundle, corpus, split, cache, other, 2)
        adaptation = {"": shots, WITHOUT: none}
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
    shots_h: float = places.SHOTS_H,
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
    """The settings that are the same in every place, with their thresholds."""
    default = bundle.operating_points[bundle.default_point].threshold
    named = [(name, start_threshold(bundle, parse_budget(b))) for name, b in NAMED.items()]
    return [(f"default {default:.3f}", default), (f"fixed {FIXED:g}", FIXED), *named]


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


def count_outcome(
    setting: str,
    budget: float | None,
    alarms: Sequence[Alarm],
    thresholds: Sequence[float],
    stream: ScoredStream,
    span: tuple[float, float] = (0.0, math.inf),
) -> Outcome:
    """Count the false alarms and the found shots of a stream, or of the seconds in ``span``."""
    hits, _ = match_events(alarms, stream.spans)
    false = [a for a in alarms if span[0] <= a[0] < span[1] and match_events([a], stream.spans)[1]]
    truth = zip(stream.truth, hits, strict=True)
    seconds = min(span[1], stream.seconds) - span[0]
    return Outcome(
        setting, budget, (min(thresholds), max(thresholds)), len(false), seconds,
        count_found([(e, hit) for e, hit in truth if span[0] <= e.onset_s < span[1]]),
    )  # fmt: skip


def count_found(events: Sequence[tuple[MixtureEvent, bool]]) -> dict[str, tuple[int, int]]:
    """(found, all) events by EBR, in ascending order."""
    found: dict[float, tuple[int, int]] = {}
    for event, hit in sorted(events, key=lambda each: each[0].ebr_db or 0.0):
        hits, count = found.get(event.ebr_db or 0.0, (0, 0))
        found[event.ebr_db or 0.0] = (hits + hit, count + 1)
    return {f"{ebr_db:g}": counts for ebr_db, counts in found.items()}


def sum_outcomes(by_place: Sequence[Sequence[Outcome]]) -> list[Outcome]:
    """The outcomes of all places together, setting by setting."""
    return [_sum_setting(outcomes) for outcomes in zip(*by_place, strict=True)]


def _sum_setting(outcomes: Sequence[Outcome]) -> Outcome:
    found: dict[str, tuple[int, int]] = {}
    for name, (hits, count) in (pair for o in outcomes for pair in o.found.items()):
        before = found.get(name, (0, 0))
        found[name] = (before[0] + hits, before[1] + count)
    return Outcome(
        outcomes[0].setting, outcomes[0].budget,
        (min(o.thresholds[0] for o in outcomes), max(o.thresholds[1] for o in outcomes)),
        sum(o.false_alarms for o in outcomes), sum(o.seconds for o in outcomes), found,
    )  # fmt: skip


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
    """Whole minutes or hours, such as ``10 min`` or ``24 h``."""
    minutes = round(seconds / 60.0)
    return f"{minutes // 60} h" if minutes % 60 == 0 else f"{minutes} min"


def _describe(source: BudgetThreshold) -> Adapted:
    return Adapted(source.threshold, source.state.curve.rates)
