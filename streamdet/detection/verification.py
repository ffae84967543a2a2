"""The second stage: candidates of the first stage, scored again by the verifier.

A frame whose gunshot score reaches the candidate threshold, and that no earlier window covers,
starts a window. The verifier scores the window, and its scores replace those of the first stage
over the window's core. All other frames keep the score of the first stage. So a quiet stream costs
nothing, and frames without a candidate are final at once.

Windows depend on frame numbers alone, so any chunking of a stream gives the same scores.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np

from streamdet.model.config import VerifierConfig


class Scorer(Protocol):
    """What scores windows: `streamdet.detection.window_scorer.WindowScorer`."""

    @property
    def config(self) -> VerifierConfig: ...  # noqa: D102 - described there

    @property
    def silence(self) -> float: ...  # noqa: D102 - described there

    def score_windows(self, log_mel: np.ndarray, starts: list[int]) -> np.ndarray: ...  # noqa: D102


class VerificationState(NamedTuple):
    """Positions are scored frames since the stream began.

    ``log_mel``, arrays (t, stride, bands), begin at frame ``first`` and ``scores`` at frame
    ``verified``, the first frame without a final score. ``core`` (core,) are the scores of the last
    core, which ends at ``core_end``.
    """

    first: int
    log_mel: tuple[np.ndarray, ...]
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


def init(scorer: Scorer) -> VerificationState:
    """The state before the first frame; before it there is silence."""
    empty, before = np.zeros(0, np.float32), scorer.config.before
    return VerificationState(-before, (_make_silence(scorer, before),), 0, empty, 0, empty)


def step(
    scorer: Scorer,
    threshold: float,
    state: VerificationState,
    log_mel: Sequence[np.ndarray],
    scores: np.ndarray,
    *,
    ending: bool = False,
) -> tuple[VerificationState, VerifiedScores]:
    """Add ``t`` frames: their log-mel frames, in one or several arrays (n, stride, bands), and the
    ``(t,)`` gunshot scores of the first stage.

    ``threshold`` is that of candidates. Returns the scores that are final now. With ``ending`` all
    are: what is missing of the last window is silence.
    """
    config = scorer.config
    first, verified = state.first, state.verified
    scores = np.concatenate([state.scores, scores])
    parts = [*state.log_mel, *log_mel]
    if ending:
        parts.append(_make_silence(scorer, config.core + config.after))
    starts, end = _find_windows(config, threshold, state, scores, ending=ending)
    cores = [(state.core_end - len(state.core), state.core)]
    if starts:
        places = [at - config.before - first for at in starts]
        scored = scorer.score_windows(np.concatenate(parts), places)
        cores += zip(starts, scored, strict=True)
    final = scores[: end - verified].copy()
    for start, core in cores:
        covered = final[max(0, start - verified) : max(0, start + len(core) - verified)]
        skipped = max(0, verified - start)
        covered[:] = core[skipped : skipped + len(covered)]
    start, core = cores[-1]
    unused = 0
    while unused < len(parts) and first + len(parts[unused]) <= end - config.before:
        first += len(parts[unused])
        unused += 1
    state = VerificationState(
        first, tuple(parts[unused:]), end, scores[end - verified :], start + len(core), core
    )
    return state, VerifiedScores(verified, final, len(starts))


def _find_windows(
    config: VerifierConfig,
    threshold: float,
    state: VerificationState,
    scores: np.ndarray,
    *,
    ending: bool,
) -> tuple[list[int], int]:
    """The candidates whose windows can be scored, and the first frame whose score is not final."""
    known = state.verified + len(scores)
    candidates = state.verified + np.flatnonzero(scores >= threshold)
    starts, core_end = [], state.core_end
    for at in map(int, candidates):
        if at < core_end:
            continue
        if known < at + config.core + config.after and not ending:
            return starts, at
        starts.append(at)
        core_end = at + config.core
    return starts, known


def _make_silence(scorer: Scorer, count: int) -> np.ndarray:
    """Log-mel frames of digital silence, (count, stride, bands)."""
    shape = (count, scorer.config.stride, scorer.config.bands)
    return np.full(shape, scorer.silence, np.float32)
