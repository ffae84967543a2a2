"""Event metrics: alarms against true events, at one threshold or at several.

The rules are the benchmark's. Alarms at most 1 s apart are one alarm. An event is found if an alarm
overlaps [onset - collar, offset + collar]. ER = (misses + false alarms) / events (Mesaros et al.,
*Metrics for polyphonic sound event detection*, 2016). `match_strongest_onset` is the rule of DCASE
2017 task 2: onsets only, a collar of 0.5 s, and only the strongest alarm of a file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from streamdet.scoring.matching import COLLAR_S, match_spans

MERGE_S = 1.0
SPACING_S = 10.0
"""`match_spaced` counts the false alarms in an interval of this length once."""

RATES_H = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)
"""False alarms an hour that the miss rate of `summarise_kind` is averaged over."""

Span = tuple[float, float]
"""(onset_s, offset_s)"""
Alarm = tuple[float, float, float]
"""(onset_s, offset_s, score)"""


@dataclass(frozen=True)
class EventCounts:
    """Hits, misses and false alarms at a threshold."""

    threshold: float
    hits: int
    misses: int
    false_alarms: int

    @property
    def error_rate(self) -> float:
        """(misses + false alarms) / events; NaN if there are no events."""
        events = self.hits + self.misses
        return (self.misses + self.false_alarms) / events if events else float("nan")

    @property
    def f1(self) -> float:
        """2 hits / (2 hits + misses + false alarms); 0 if all are 0."""
        return 2 * self.hits / max(1, 2 * self.hits + self.misses + self.false_alarms)

    @property
    def recall(self) -> float:
        """hits / events; NaN if there are no events."""
        events = self.hits + self.misses
        return self.hits / events if events else float("nan")


def find_alarms(
    scores: np.ndarray, hop_s: float, threshold: float, window_s: float | None = None
) -> list[Alarm]:
    """Find the runs of ``(t,)`` scores at or above a threshold.

    Scores are ``hop_s`` apart; a score covers ``window_s`` from its start on, by default one hop.
    """
    found: list[Alarm] = []
    window_s = hop_s if window_s is None else window_s
    for frame in np.flatnonzero(scores >= threshold):
        start, score = frame * hop_s, float(scores[frame])
        stop = start + window_s
        if found and start - found[-1][1] <= MERGE_S:
            found[-1] = (found[-1][0], stop, max(score, found[-1][2]))
        else:
            found.append((start, stop, score))
    return found


def match_events(events: Sequence[Alarm], truth: Sequence[Span]) -> tuple[list[bool], int]:
    """Return which true events are found, and the number of alarms that match no event."""
    true, hits = match_spans(events, truth, COLLAR_S)
    return hits, len(true) - sum(true)


def match_strongest_onset(events: Sequence[Alarm], truth: Sequence[Span]) -> tuple[list[bool], int]:
    """Match as DCASE 2017 task 2: the strongest alarm's onset within 0.5 s of the only event's."""
    if not events:
        return [False] * len(truth), 0
    best = max(events, key=lambda e: e[2])
    if truth and abs(best[0] - truth[0][0]) <= COLLAR_S:
        return [True] * len(truth), 0
    return [False] * len(truth), 1


def match_spaced(events: Sequence[Alarm], truth: Sequence[Span]) -> tuple[list[bool], int]:
    """Match as `match_events`, but count the false alarms within the same 10 s once.

    A bed that causes a false alarm usually goes on causing them, which adds no information.
    """
    hits, _ = match_events(events, truth)
    false = [e for e in events if match_events([e], truth)[1]]
    return hits, len({int(e[0] // SPACING_S) for e in false})


MatchRule = Callable[[Sequence[Alarm], Sequence[Span]], tuple[list[bool], int]]
"""A function like `match_events`."""


def count_events(
    threshold: float,
    files: Iterable[tuple[Sequence[Alarm], Sequence[Span]]],
    rule: MatchRule = match_events,
) -> EventCounts:
    """Count hits, misses and false alarms over ``(alarms, truth)`` pairs, one for each file."""
    hits = misses = false_alarms = 0
    for events, truth in files:
        found, false = rule(events, truth)
        hits += sum(found)
        misses += len(found) - sum(found)
        false_alarms += false
    return EventCounts(threshold, hits, misses, false_alarms)


def sweep_thresholds(
    files: Sequence[tuple[np.ndarray, Sequence[Span]]],
    hop_s: float,
    thresholds: Sequence[float],
    rule: MatchRule = match_events,
    window_s: float | None = None,
) -> list[EventCounts]:
    """Count over ``(scores, truth)`` pairs, one for each file, at each threshold."""
    return [
        count_events(
            float(t),
            ((find_alarms(scores, hop_s, t, window_s), truth) for scores, truth in files),
            rule,
        )
        for t in thresholds
    ]


def choose_thresholds(
    files: Sequence[tuple[np.ndarray, Sequence[Span]]], count: int = 80
) -> list[float]:
    """Choose ``count`` thresholds at upper quantiles of the scores, in ascending order."""
    all_scores = np.concatenate([scores for scores, _ in files])
    return np.unique(np.quantile(all_scores, 1 - np.logspace(-5, -0.7, count))).tolist()


def find_recall_at_rate(rows: Sequence[EventCounts], hours: float, rate: float) -> float:
    """Find the best recall with at most ``rate`` false alarms per hour."""
    allowed = [r.recall for r in rows if r.false_alarms / hours <= rate]
    return max(allowed, default=0.0)


def summarise_kind(
    kind: str, files: Sequence[tuple[np.ndarray, Sequence[Span]]], hop_s: float, hours: float
) -> dict[str, float]:
    """Metrics of the scenes of one kind, ``(scores, truth)`` pairs, for validation while training.

    Best event error rate, F1 and recall at 6 false alarms an hour by the rules of the benchmark.
    ``miss_rate`` is the mean miss rate at 1, 2, 4 ... 64 false alarms an hour (after the
    log-average miss rate of Dollar et al., *Pedestrian Detection*, PAMI 2012). There, false alarms
    within the same 10 s count once: a single background that raises alarms changes the best error
    rate more than a thousand steps do; it changes this rate less.
    """
    thresholds = choose_thresholds(files)
    rows = sweep_thresholds(files, hop_s, thresholds)
    spaced = sweep_thresholds(files, hop_s, thresholds, match_spaced)
    recalls = [find_recall_at_rate(spaced, hours, rate) for rate in RATES_H]
    return {
        f"{kind}_error_rate": round(min(r.error_rate for r in rows), 3),
        f"{kind}_f1": round(max(r.f1 for r in rows), 3),
        **{
            f"{kind}_recall_at_{rate}": round(find_recall_at_rate(rows, hours, rate), 3)
            for rate in (1, 6, 20)
        },
        f"{kind}_miss_rate": round(1.0 - float(np.mean(recalls)), 4),
    }
