"""Precision and recall of events by labels, per file and in total."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from streamdet.scoring.labels import ShotLabel, labels_for_file
from streamdet.scoring.matching import MatchResult, WindowCounts, count_windows, match_events


class EventScorer:
    """Scores the events of one file after another."""

    def __init__(self, truth: Sequence[ShotLabel]) -> None:
        self._truth = truth
        self._matches: list[MatchResult] = []
        self._windows: list[tuple[str, WindowCounts]] = []

    def add_file(self, file: str, spans: Sequence[tuple[float, float]]) -> tuple[bool, ...]:
        """Add the events of a file, as (onset_s, offset_s); returns which of them are true."""
        labels = labels_for_file(self._truth, file)
        match = match_events(spans, labels)
        self._matches.append(match)
        self._windows.append((file, count_windows(spans, labels)))
        return match.true

    def summary_lines(self) -> list[str]:
        """One line with false positives, misses, precision, recall and onset error, a warning if no
        label matches a file, then one line per file with its window counts."""
        true = sum(sum(m.true) for m in self._matches)
        events = sum(len(m.true) for m in self._matches)
        found = sum(m.found for m in self._matches)
        missed = sum(m.missed for m in self._matches)
        errors = [abs(e) for m in self._matches for e in m.onset_errors]
        parts = [
            f"of {events} events {true} are true and {events - true} false positives",
            f"{missed} of {found + missed} labelled shots were missed",
        ]
        if events:
            parts.append(f"precision {true / events:.2f}")
        if found + missed:
            parts.append(f"recall {found / (found + missed):.2f}")
        if errors:
            parts.append(f"onset error {1e3 * median(errors):.0f} ms (median)")
        lines = ["; ".join(parts)]
        if self._truth and not found + missed:
            lines.append(
                f"no label is of an analysed file. The first one is of {self._truth[0].file}"
            )
        return [*lines, *(_window_line(file, counts) for file, counts in self._windows)]


def _window_line(file: str, counts: WindowCounts) -> str:
    correct = f"correct predictions {counts.correct} / {counts.labelled}"
    return f"{file}: {correct}, false positive windows {counts.false}"
