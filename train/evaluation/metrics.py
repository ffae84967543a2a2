"""Event metrics: alarms against truth, at one threshold or at all.

The rules are the benchmark's: alarms less than 1 s apart are one; an event is found when an
alarm overlaps [onset - collar, offset + collar]; ER = (misses + false alarms) / events
(Mesaros et al., *Metrics for polyphonic sound event detection*, 2016). `onset_f1` is DCASE
2017 task 2's: onset only, collar 0.5 s, the strongest alarm of a file alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from streamdet.scoring.matching import COLLAR_S, match_spans

MERGE_S = 1.0
SPACING_S = 10.0

Span = tuple[float, float]
Alarm = tuple[float, float, float]


@dataclass(frozen=True)
class EventCounts:
    """Hits, misses and false alarms at a threshold."""

    threshold: float
    hits: int
    misses: int
    false_alarms: int

    @property
    def error_rate(self) -> float:
        """(misses + false alarms) / events; NaN where there is no event."""
        events = self.hits + self.misses
        return (self.misses + self.false_alarms) / events if events else float("nan")

    @property
    def f1(self) -> float:
        """2 hits / (2 hits + misses + false alarms); 0 where all are 0."""
        return 2 * self.hits / max(1, 2 * self.hits + self.misses + self.false_alarms)

    @property
    def recall(self) -> float:
        """hits / events; NaN where there is no event."""
        events = self.hits + self.misses
        return self.hits / events if events else float("nan")


def find_alarms(
    scores: np.ndarray, hop_s: float, threshold: float, window_s: float | None = None
) -> list[Alarm]:
    """(onset_s, offset_s, score) of the runs of ``(t,)`` scores at or above a threshold; a
    score speaks for ``window_s`` from its start on, a hop if none is given."""
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
    """Which truths are found, and how many alarms found none."""
    true, hits = match_spans(events, truth, COLLAR_S)
    return hits, len(true) - sum(true)


def match_strongest_onset(events: Sequence[Alarm], truth: Sequence[Span]) -> tuple[list[bool], int]:
    """DCASE 2017 task 2: the strongest alarm's onset within 0.5 s of the only truth's."""
    if not events:
        return [False] * len(truth), 0
    best = max(events, key=lambda e: e[2])
    if truth and abs(best[0] - truth[0][0]) <= COLLAR_S:
        return [True] * len(truth), 0
    return [False] * len(truth), 1


def match_spaced(events: Sequence[Alarm], truth: Sequence[Span]) -> tuple[list[bool], int]:
    """`match`, false alarms of the same 10 s counted once: a bed that fools a detector fools it
    all along, which says no more of it than the first time does."""
    hits, _ = match_events(events, truth)
    false = [e for e in events if match_events([e], truth)[1]]
    return hits, len({int(e[0] // SPACING_S) for e in false})


MatchRule = Callable[[Sequence[Alarm], Sequence[Span]], tuple[list[bool], int]]
"""`match` or one like it: which truths are found, and how many alarms are false."""


def count_events(
    threshold: float,
    files: Iterable[tuple[Sequence[Alarm], Sequence[Span]]],
    rule: MatchRule = match_events,
) -> EventCounts:
    """Counts over ``(alarms, truth)`` pairs, one a file."""
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
    """Counts over ``(scores, truth)`` pairs at each threshold."""
    return [
        count_events(
            float(t),
            ((find_alarms(scores, hop_s, t, window_s), truth) for scores, truth in files),
            rule,
        )
        for t in thresholds
    ]


def choose_thresholds(files: Sequence[tuple[np.ndarray, Sequence[Span]]], count: int = 80) -> list:
    """Thresholds at the scores' upper quantiles, from rare to common."""
    everything = np.concatenate([scores for scores, _ in files])
    return np.unique(np.quantile(everything, 1 - np.logspace(-5, -0.7, count))).tolist()


def find_recall_at_rate(rows: Sequence[EventCounts], hours: float, rate: float) -> float:
    """The best recall with at most ``rate`` false alarms an hour."""
    allowed = [r.recall for r in rows if r.false_alarms / hours <= rate]
    return max(allowed, default=0.0)


def average_precision(positive: np.ndarray, scores: np.ndarray) -> float:
    """Mean precision at the rank of each positive, ``(n,) bool`` and ``(n,)`` scores, equal
    scores in the order given; NaN where there is no positive."""
    ranked = positive[np.argsort(-scores, kind="stable")]
    precision = np.cumsum(ranked) / np.arange(1, len(ranked) + 1)
    return float(precision[ranked].mean()) if ranked.any() else float("nan")


def roc_auc(positive: np.ndarray, scores: np.ndarray) -> float:
    """The share of (positive, negative) pairs in the right order, ties half; NaN without both."""
    if positive.all() or not positive.any():
        return float("nan")
    above, below = scores[positive][:, None], scores[~positive][None]
    return float((above > below).mean() + 0.5 * (above == below).mean())
