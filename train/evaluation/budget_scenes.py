"""How budgets follow a place whose sound changes, and what they find in field recordings."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from streamdet.budget import parse_budget
from streamdet.detection.background import logit
from streamdet.detection.window_scorer import WindowScorer
from streamdet.model.bundle import Bundle
from streamdet.pipeline.budget_threshold import BudgetThreshold, set_up_budget
from train.data import places
from train.data.corpus import Corpus
from train.data.distances import read_distances
from train.data.mixtures import make_city_mixtures
from train.data.place_recipes import Place
from train.data.places import StreamPart
from train.evaluation.budget_outcomes import HOUR_S, Outcome, count_outcome
from train.evaluation.budgets import BUDGETS, FIXED, list_fixed_thresholds, open_stream
from train.evaluation.metrics import match_events
from train.evaluation.stream_scores import (
    Replay,
    ScoredStream,
    hash_recipe,
    join_streams,
    replay,
    score_stream,
)

SCHEDULES = {
    "Work begins and ends": (("quiet street", 12), ("building site", 6), ("quiet street", 12)),
    "Rain, then a band": (
        ("quiet street", 6), ("rain", 6), ("music venue", 6), ("quiet street", 12),
    ),
}  # fmt: skip
"""Places one after another, each with its number of pieces of 10 minutes."""
QUARTER_S = 900.0
SETTLED = 0.5
"""Logits from the threshold at the end of a phase within which it has settled."""
BIN_M = 200
_START_S, _BEFORE_S = 0.5, 0.2
"""Seconds at the beginning of a field recording, and before its first shot, that are left out."""


class Phase(NamedTuple):
    """A part of a stream in one place, from ``start_s`` to ``stop_s``."""

    place: str
    start_s: float
    stop_s: float


@dataclass(frozen=True)
class SceneOutcome:
    """A stream whose place changes. ``played`` has a replay for each budget, and ``fixed`` that of
    the fixed threshold."""

    name: str
    phases: tuple[Phase, ...]
    stream: ScoredStream
    played: dict[str, Replay]
    fixed: Replay

    def count(self, setting: str, span: tuple[float, float]) -> Outcome:
        """What a budget finds in a part of the stream; an unknown setting is the fixed one."""
        run = self.played.get(setting, self.fixed)
        step = self.stream.seconds / len(run.thresholds)
        first, last = (int(at / step) for at in span)
        budget = parse_budget(setting) if setting in self.played else None
        inside = run.thresholds[first : max(last, first + 1)]
        return count_outcome(setting, budget, run.alarms, inside, self.stream, span)

    def settling_s(self, setting: str, phase: Phase) -> float:
        """Seconds from the start of a phase until the threshold stays near that of its end."""
        thresholds = self.played[setting].thresholds
        step = self.stream.seconds / len(thresholds)
        first, last = (int(at / step) for at in phase[1:])
        inside = logit(np.array(thresholds[first : max(last, first + 1)]))
        away = np.flatnonzero(np.abs(inside - inside[-1]) > SETTLED)
        return 0.0 if not len(away) else (int(away[-1]) + 1) * step


def measure_scenes(
    bundle: Bundle,
    corpus: Corpus,
    split: str,
    cache: Path,
    scorer: WindowScorer | None,
    shorten: int = 1,
    report: Callable[[str], None] = lambda _: None,
) -> list[SceneOutcome]:
    """Measure the streams of SCHEDULES whose places all have clips, from the bundle's prior on.

    ``shorten`` divides the numbers of pieces. ``report`` is called with a line about each.
    """
    known = {place.name: place for place in places.list_places(corpus, split)}
    measured = []
    for name, rows in SCHEDULES.items():
        if not all(place in known for place, _ in rows):
            continue
        schedule = [(known[place], max(1, pieces // shorten)) for place, pieces in rows]
        stream = open_stream(bundle, corpus, split, cache, schedule, 3, places.SHOTS_H)
        played = {
            text: replay(
                bundle, stream, scorer, BudgetThreshold(set_up_budget(bundle, parse_budget(text)))
            )
            for text in BUDGETS
        }
        fixed = replay(bundle, stream, scorer, FIXED)
        report(f"{split}: {name.lower()} measured")
        measured.append(SceneOutcome(name, _list_phases(schedule), stream, played, fixed))
    return measured


def _list_phases(schedule: Sequence[tuple[Place, int]]) -> tuple[Phase, ...]:
    phases, at = [], 0.0
    for place, pieces in schedule:
        length = pieces * (places.PIECE_S - places.FADE_S)
        phases.append(Phase(place.name, at, at + length))
        at += length
    return tuple(phases)


def measure_city(
    bundle: Bundle,
    corpus: Corpus,
    split: str,
    cache: Path,
    scorer: WindowScorer | None,
    positions: Path,
) -> list[Outcome]:
    """What fixed thresholds and budgets find in the field recordings of a split, by distance.

    Each sensor is a source. Its budget adapts to all of its recordings once, which are dense
    gunfire, or to their beginnings before the first shot, repeated for an hour. The threshold is
    then used for all of its recordings. Empty without field recordings.
    """
    distances = {Path(name).stem: metres for name, metres in read_distances(positions).items()}
    sensors: dict[str, list[ScoredStream]] = defaultdict(list)
    for mixture in make_city_mixtures(corpus, split):
        stem = Path(mixture.name).stem
        truth = tuple(replace(event, ebr_db=distances.get(stem)) for event in mixture.truth)
        folder = cache / f"city-{hash_recipe({'bundle': bundle.sha256, 'name': mixture.name})}"
        stream = score_stream(bundle, [StreamPart(mixture.samples, truth)], folder)
        sensors[stem.partition("-SCP-")[2]].append(stream)
    if not sensors:
        return []

    def judge(setting: str, by_sensor: Sequence[float], budget: float | None = None) -> Outcome:
        pairs = list(zip(sensors.values(), by_sensor, strict=True))
        return _judge_recordings(bundle, scorer, pairs, setting, budget)

    fixed = list_fixed_thresholds(bundle)
    outcomes = [judge(name, [threshold] * len(sensors)) for name, threshold in fixed]
    for text in BUDGETS:
        budget = parse_budget(text)
        for name, quiet in (("after their gunfire", False), ("after an hour without shots", True)):
            adapted = [
                _adapt_sensor(bundle, scorer, streams, budget, quiet=quiet)
                for streams in sensors.values()
            ]
            outcomes.append(judge(f"{text}, {name}", adapted, budget))
    return outcomes


def _adapt_sensor(
    bundle: Bundle,
    scorer: WindowScorer | None,
    streams: Sequence[ScoredStream],
    budget: float,
    *,
    quiet: bool,
) -> float:
    """The threshold of a sensor after its recordings, or after an hour of their ``quiet`` parts."""
    parts = []
    for stream in streams:
        first = round(_START_S / stream.frame_s) if quiet else 0
        before_s = stream.truth[0].onset_s - _BEFORE_S if quiet else stream.seconds
        parts.append(stream.cut(first, max(first, round(before_s / stream.frame_s))))
    joined = join_streams(parts)
    source = BudgetThreshold(set_up_budget(bundle, budget))
    seconds = max(joined.seconds, 1.0)
    for _ in range(max(1, round(HOUR_S / seconds)) if quiet else 1):
        replay(bundle, joined, scorer, source)
    return source.threshold


def _judge_recordings(
    bundle: Bundle,
    scorer: WindowScorer | None,
    sensors: Sequence[tuple[Sequence[ScoredStream], float]],
    setting: str,
    budget: float | None,
) -> Outcome:
    """What the recordings of each sensor give at its threshold."""
    false, seconds, found = 0, 0.0, dict[int | None, tuple[int, int]]()
    for stream, threshold in ((s, threshold) for streams, threshold in sensors for s in streams):
        hits, more = match_events(replay(bundle, stream, scorer, threshold).alarms, stream.spans)
        false, seconds = false + more, seconds + stream.seconds
        for event, hit in zip(stream.truth, hits, strict=True):
            at = None if event.ebr_db is None else int(event.ebr_db // BIN_M)
            before = found.get(at, (0, 0))
            found[at] = (before[0] + hit, before[1] + 1)
    named = {
        "not known" if at is None else f"{BIN_M * at} to {BIN_M * (at + 1)} m": found[at]
        for at in sorted(found, key=lambda at: math.inf if at is None else at)
    }
    thresholds = [threshold for _, threshold in sensors]
    return Outcome(setting, budget, (min(thresholds), max(thresholds)), false, seconds, named)
