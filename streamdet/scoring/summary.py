"""How true events are, file by file and in all, as labels have it."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from streamdet.scoring import labels
from streamdet.scoring.labels import MatchResult, ShotLabel, WindowCounts


class EventScorer:
    """Takes the events of one file after another, as (onset_s, offset_s)."""

    def __init__(self, truth: Sequence[ShotLabel]) -> None:
        self._truth = truth
        self._matched: list[MatchResult] = []
        self._windows: list[tuple[str, WindowCounts]] = []

    def add_file(self, file: str, spans: Sequence[tuple[float, float]]) -> tuple[bool, ...]:
        """The events of a file; which of them are true."""
        its = labels.labels_for_file(self._truth, file)
        matched = labels.match_events(spans, its)
        self._matched.append(matched)
        self._windows.append((file, labels.count_windows(spans, its)))
        return matched.true

    def summary_lines(self) -> list[str]:
        """What it comes to: hits, false positives, misses, precision, recall, onset error; then the
        film studio's own table, a line a file."""
        true = sum(sum(m.true) for m in self._matched)
        events = sum(len(m.true) for m in self._matched)
        found = sum(m.found for m in self._matched)
        missed = sum(m.missed for m in self._matched)
        errors = [abs(e) for m in self._matched for e in m.onset_errors]
        words = [
            f"of {events} events {true} are true and {events - true} false positives",
            f"{missed} of {found + missed} labelled shots were missed",
        ]
        if events:
            words.append(f"precision {true / events:.2f}")
        if found + missed:
            words.append(f"recall {found / (found + missed):.2f}")
        if errors:
            words.append(f"onset error {1e3 * median(errors):.0f} ms (median)")
        return ["; ".join(words), *(_row(file, of) for file, of in self._windows)]


def _row(file: str, of: WindowCounts) -> str:
    right = f"correct predictions {of.correct} / {of.labelled}"
    return f"{file}: {right}, false positive windows {of.false}"
