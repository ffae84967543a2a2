"""The background of recordings in parts of about a minute, and the scores of labelled shots."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from streamdet.detection import background
from streamdet.detection.background import COUNT, BackgroundConfig, EventSpan
from streamdet.detection.rate_interval import PART_S, Parts

_UNLIMITED = 1.0
"""A threshold that no score reaches: all levels are observed."""


@dataclass
class FileScores:
    """The scores of a file, without gaps in each run; `add` is a `ScoreCallback`."""

    _runs: list[tuple[float, list[np.ndarray]]] = field(default_factory=list)
    _end_s: float = -math.inf

    def add(self, start_s: float, frame_s: float, scores: np.ndarray) -> None:
        """Add the ``(t,)`` gunshot scores of the frames from ``start_s`` on."""
        if abs(start_s - self._end_s) > frame_s / 2.0:
            self._runs.append((start_s, []))
        self._runs[-1][1].append(scores)
        self._end_s = start_s + len(scores) * frame_s

    def runs(self) -> list[tuple[float, np.ndarray]]:
        """The start in seconds and the ``(t,)`` scores of each run."""
        return [(start_s, np.concatenate(parts)) for start_s, parts in self._runs]


class RecordedBackground:
    """What is counted of one file after another.

    Seconds with a labelled shot are not background. Everything else is, as in
    `streamdet.detection.background`, without forgetting: without labels there are no shots.
    """

    def __init__(self, config: BackgroundConfig) -> None:
        self.config = replace(
            config, half_life_s=math.inf, guard_s=0.0, skip_s=math.inf, skip_share=0.0
        )
        self._starts: list[np.ndarray] = []
        self._seconds: list[float] = []
        self._open: tuple[np.ndarray, float] = np.zeros(COUNT), 0.0
        self._shot_scores: list[float] = []

    def add_file(self, scores: FileScores, shots: Sequence[tuple[float, float]]) -> None:
        """Add a file with the seconds of its labelled shots, from first to last, which may be
        later than its end."""
        runs = scores.runs()
        highest = [0.0] * len(shots)
        for start_s, run in runs:
            spans: list[EventSpan] = []
            for i, (first_s, last_s) in enumerate(shots):
                first = max(0, math.floor((first_s - start_s) / self.config.frame_s))
                last = min(len(run), math.ceil((last_s - start_s) / self.config.frame_s))
                if first < last:
                    highest[i] = max(highest[i], float(run[first:last].max()))
                    spans.append(EventSpan(first, last, 0.0, first))
            self._count(run, spans)
        self._shot_scores += highest

    def parts(self) -> Parts:
        """The parts so far; the last one may be short."""
        starts, seconds = [*self._starts], [*self._seconds]
        if self._open[1] > 0.0:
            starts, seconds = [*starts, self._open[0]], [*seconds, self._open[1]]
        return Parts(np.array(starts).reshape(-1, COUNT), np.array(seconds))

    @property
    def seconds(self) -> float:
        """The length of the background."""
        return sum(self._seconds) + self._open[1]

    def shot_scores(self) -> np.ndarray:
        """The highest score within each labelled shot, 0 where it was not analysed: (n,)."""
        return np.array(self._shot_scores)

    def _count(self, scores: np.ndarray, spans: list[EventSpan]) -> None:
        state = background.init(self.config)
        size = round(PART_S / self.config.frame_s)
        for at in range(0, len(scores), size):
            known = background.step(
                self.config, state, scores[at : at + size], _UNLIMITED, () if at else spans
            )
            self._add_part(known.starts - state.starts, known.seconds - state.seconds)
            state = known
        known = background.finish(self.config, state)
        self._add_part(known.starts - state.starts, known.seconds - state.seconds)

    def _add_part(self, starts: np.ndarray, seconds: float) -> None:
        """Add to the open part, which short files share, and close it after a minute."""
        self._open = self._open[0] + starts, self._open[1] + seconds
        if self._open[1] >= PART_S / 2.0:
            self._starts.append(self._open[0])
            self._seconds.append(self._open[1])
            self._open = np.zeros(COUNT), 0.0
