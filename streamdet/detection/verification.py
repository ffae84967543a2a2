"""The second stage: candidates of the first stage, scored again by the verifier.

A frame whose gunshot score reaches the candidate threshold, and that no earlier window covers,
starts a window. The verifier scores the window, and its scores replace those of the first stage
over the window's core. All other frames keep the score of the first stage. So a quiet stream costs
nothing, and frames without a candidate are final at once.

Windows depend on frame numbers alone, so any chunking of a stream gives the same scores.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from streamdet.detection.frames import FrameGrid
from streamdet.model.config import VerifierConfig

LEAD = 1
"""Scored frames before a window whose samples are part of its first log-mel frames."""

ScoreWindow = Callable[[np.ndarray], np.ndarray]
"""``(n,) float32`` samples of LEAD frames and a window to the gunshot probabilities of its core,
(core,)."""


class VerificationState(NamedTuple):
    """Positions are scored frames since the stream began.

    ``samples`` begin at frame ``first`` and ``scores`` at frame ``verified``, the first frame
    without a final score. ``core_end`` is the end of the last core.
    """

    first: int
    samples: np.ndarray
    verified: int
    scores: np.ndarray
    core_end: int
    core: np.ndarray


class VerifiedScores(NamedTuple):
    """The final gunshot scores of the frames from ``start`` on, (t,) float32, and the number of
    windows that were scored for them."""

    start: int
    scores: np.ndarray
    windows: int


def init() -> VerificationState:
    """The state before the first frame."""
    empty = np.zeros(0, np.float32)
    return VerificationState(0, empty, 0, empty, 0, empty)


def step(
    config: VerifierConfig,
    grid: FrameGrid,
    threshold: float,
    score_window: ScoreWindow,
    state: VerificationState,
    samples: np.ndarray,
    scores: np.ndarray,
    *,
    ending: bool = False,
) -> tuple[VerificationState, VerifiedScores]:
    """Add ``(n,)`` samples and the ``(t,)`` first-stage gunshot scores of the frames they complete.

    ``threshold`` is that of candidates. Returns the scores that are final now. With ``ending`` all
    are: what is missing of the last window is silence.
    """
    lead = config.before + LEAD
    samples = np.concatenate([state.samples, samples])
    scores = np.concatenate([state.scores, scores])
    final, windows, core_end, core = [], 0, state.core_end, state.core
    verified, known = state.verified, state.verified + len(scores)
    while verified < known:
        if verified < core_end:
            taken = min(core_end, known) - verified
            final.append(core[:taken])
            core = core[taken:]
        else:
            ahead = scores[verified - state.verified :]
            candidates = np.flatnonzero(ahead >= threshold)
            taken = int(candidates[0]) if len(candidates) else len(ahead)
            if not taken:
                end = verified + config.core + config.after
                if known < end and not ending:
                    break
                window = _cut_window(grid, samples, state.first, verified - lead, end)
                core, core_end = score_window(window), verified + config.core
                windows += 1
                continue
            final.append(ahead[:taken])
        verified += taken
    first = max(state.first, verified - lead)
    kept = samples[(first - state.first) * grid.frame :]
    result = VerifiedScores(
        state.verified, np.concatenate([*final, np.zeros(0, np.float32)]), windows
    )
    remaining = scores[verified - state.verified :]
    return VerificationState(first, kept, verified, remaining, core_end, core), result


def _cut_window(
    grid: FrameGrid, samples: np.ndarray, first: int, start: int, end: int
) -> np.ndarray:
    """The samples of the frames ``start`` to ``end - 1``; silence where there are none."""
    window = np.zeros((end - start) * grid.frame, np.float32)
    at = (first - start) * grid.frame
    source = samples[max(0, -at) :]
    at = max(0, at)
    count = min(len(source), len(window) - at)
    window[at : at + count] = source[:count]
    return window
