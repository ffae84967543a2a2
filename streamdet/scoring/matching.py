"""Events against true events: matching with a collar, and the count of 10 s windows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from streamdet.scoring.labels import WINDOW_S, ShotLabel

COLLAR_S = 0.5
"""Seconds by which a true event is widened at both ends before it is matched."""

Span = tuple[float, ...]
"""(onset_s, offset_s); further values are ignored."""


def overlaps(event: Span, truth: Span, collar_s: float = COLLAR_S) -> bool:
    """Whether an event touches a true event that is widened by the collar at both ends."""
    return event[0] <= truth[1] + collar_s and event[1] >= truth[0] - collar_s


def match_spans(
    events: Sequence[Span], truth: Sequence[Span], collar_s: float = COLLAR_S
) -> tuple[list[bool], list[bool]]:
    """Which events overlap any true event, and which true events overlap any event.

    Every overlap counts; there is no assignment of one event to one true event.
    """
    true = [any(overlaps(event, t, collar_s) for t in truth) for event in events]
    found = [any(overlaps(event, t, collar_s) for event in events) for t in truth]
    return true, found


@dataclass(frozen=True)
class MatchResult:
    """``true``: which events are true. ``found`` and ``missed``: numbers of labels.
    ``onset_errors``: for each found label that is not a window, the signed seconds from its onset
    to the nearest overlapping event's."""

    true: tuple[bool, ...]
    found: int
    missed: int
    onset_errors: tuple[float, ...]


def match_events(
    spans: Sequence[tuple[float, float]], labels: Sequence[ShotLabel], collar_s: float = COLLAR_S
) -> MatchResult:
    """Match events, as (onset_s, offset_s), with labels."""
    true, found = match_spans(spans, [label.span for label in labels], collar_s)
    errors = []
    for label in (x for x, hit in zip(labels, found, strict=True) if hit and not x.window):
        near = [span for span in spans if overlaps(span, label.span, collar_s)]
        errors.append(min((span[0] - label.onset_s for span in near), key=abs))
    return MatchResult(tuple(true), sum(found), len(labels) - sum(found), tuple(errors))


@dataclass(frozen=True)
class WindowCounts:
    """Windows of 10 s: ``correct`` of the ``labelled`` windows contain an event, and ``false``
    windows contain an event but touch no label."""

    correct: int
    labelled: int
    false: int


def count_windows(
    spans: Sequence[tuple[float, float]], labels: Sequence[ShotLabel]
) -> WindowCounts:
    """Score events, as (onset_s, offset_s), by windows of 10 s.

    The labelled windows are the labels that are windows, and the windows of a grid from 0 s in
    which other labels begin.
    """
    starts = {
        label.onset_s if label.window else WINDOW_S * (label.onset_s // WINDOW_S)
        for label in labels
    }
    touched = {at for label in labels if not label.window for at in _grid_windows(label.span)}

    def has_event(start_s: float) -> bool:
        return any(a < start_s + WINDOW_S and b > start_s for a, b in spans)

    predicted = {at for span in spans for at in _grid_windows(span)} - touched
    false = [at for at in predicted if all(abs(at - start) >= WINDOW_S for start in starts)]
    return WindowCounts(sum(map(has_event, starts)), len(starts), sum(map(has_event, false)))


def _grid_windows(span: Span) -> list[float]:
    """The starts of the grid's windows that a span touches."""
    return [WINDOW_S * i for i in range(int(span[0] // WINDOW_S), int(span[1] // WINDOW_S) + 1)]
