"""Candidates to verified events.

The first stage's decision runs at the candidate threshold, and its onset is passed on at once. A
second decision runs on the final scores, at the threshold of the operating point. Each of its
events is reported as an onset and a final detection with ``verified`` True. If it begins in a
candidate, it is reported as that candidate's event, with a new onset. A candidate in which no
event begins is reported as a final detection with ``verified`` False, once it is over and its
frames have final scores.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from streamdet.detection import decision
from streamdet.detection.decision import DecisionConfig, DecisionState
from streamdet.detection.event import Detection
from streamdet.detection.frames import FrameGrid, ScoredFrames
from streamdet.detection.verification import VerifiedScores

TAIL_S = 0.6
"""The verifier may place a shot this much later than the first stage: a window's core, 0.56 s."""
LOOK_AHEAD_S = 0.12
"""Final scores may rise this much before the onset, because the verifier knows what follows. So the
second decision looks for the onset among frames that are this much later too."""
_MOST_TOLD = 16
_IDLE_STEPS = 25
"""Steps in which nothing happens are decided together, at most so many. It saves time."""
HISTORY_S = 24.0
"""More than the longest event and its look-ahead."""


@dataclass(frozen=True)
class Candidate:
    """A first-stage event. ``opened`` is its first scored frame; ``last`` the last frame that
    belongs to it, once it is over. ``score`` is its highest final score so far, and ``used`` tells
    whether an event begins in it."""

    onset: Detection
    opened: int
    last: int | None
    final: Detection | None
    score: float
    used: bool


class ConfirmationState(NamedTuple):
    """``candidates`` that may still become events, in order. ``judged``: frames that the second
    decision has had. ``waiting``: the following frames. ``pending``: the final scores for them,
    ``LOOK_AHEAD_S`` earlier; both in one or several parts. ``stage``: the first stage's scores of
    the last judged frames. ``reported``: the onset that the open event was reported with first.
    ``told``: the first onsets of the last events, which identify them."""

    candidates: tuple[Candidate, ...]
    judged: int
    waiting: tuple[ScoredFrames, ...]
    pending: tuple[np.ndarray, ...]
    stage: np.ndarray
    decision: DecisionState
    reported: int | None
    told: tuple[int, ...] = ()


def init(config: DecisionConfig, grid: FrameGrid) -> ConfirmationState:
    """The state before the first frame."""
    none = np.zeros(0, np.float32)
    pending = (np.zeros(_to_frames(LOOK_AHEAD_S, grid), np.float32),)
    return ConfirmationState((), 0, (), pending, none, decision.init(config, grid), None)


def step(
    config: DecisionConfig,
    grid: FrameGrid,
    state: ConfirmationState,
    detections: list[Detection],
    frames: list[ScoredFrames],
    verified: VerifiedScores,
    *,
    ending: bool = False,
) -> tuple[ConfirmationState, list[Detection]]:
    """Add the first stage's new ``detections`` and ``frames``, and the scores that are final now.

    ``config`` is that of the second decision. Returns the detections to report. With ``ending`` no
    more scores follow.
    """
    state = state._replace(
        waiting=(*state.waiting, *frames), pending=(*state.pending, verified.scores)
    )
    idle = not (detections or state.candidates or state.decision.event or ending)
    few = len(state.pending) < _IDLE_STEPS
    # the first part is what the last decision left over
    highest = max(x.max(initial=0.0) for x in (state.pending[0], verified.scores))
    if idle and few and highest < config.threshold:
        return state, []
    return _judge(config, grid, state, detections, verified, ending=ending)


def settle(config: DecisionConfig, grid: FrameGrid, state: ConfirmationState) -> ConfirmationState:
    """Decide on the frames that wait, before another ``config`` applies. None is in an event."""
    nothing = VerifiedScores(0, np.zeros(0, np.float32), 0)
    return _judge(config, grid, state, [], nothing, ending=False)[0]


def _judge(
    config: DecisionConfig,
    grid: FrameGrid,
    state: ConfirmationState,
    detections: list[Detection],
    verified: VerifiedScores,
    *,
    ending: bool,
) -> tuple[ConfirmationState, list[Detection]]:
    """Decide on all frames that have final scores."""
    ahead, waiting = _to_frames(LOOK_AHEAD_S, grid), list(state.waiting)
    candidates, reported = _add_candidates(grid, state.candidates, detections)
    candidates = [_update_score(candidate, verified) for candidate in candidates]
    waiting.append(_make_silence(grid, ahead if ending else 0))
    joined = ScoredFrames(*(np.concatenate(column) for column in zip(*waiting, strict=True)))
    final = np.concatenate(state.pending)
    count = min(len(joined.level), len(final))
    judged = ScoredFrames(*(x[:count] for x in joined))
    stage = np.concatenate([state.stage, judged.scores[:, 0]])
    end = state.judged + count
    scores = judged.scores.copy()
    scores[:, 0] = final[:count]
    second, events = decision.step(config, grid, state.decision, judged._replace(scores=scores))
    if ending:
        second, closed = decision.finish(config, grid, second)
        events += closed
    anchor, told = state.reported, state.told
    for event in events:
        if event.phase == "onset":
            opened = event.detected // grid.frame - 1 - ahead
            candidates, anchor = _take_candidate(candidates, opened)
            anchor = None if anchor in told else anchor
            told = (*told, event.onset if anchor is None else anchor)[-_MOST_TOLD:]
        event = _shift_offset(event, ahead * grid.frame)
        span = (event.onset, event.detected if event.offset is None else event.offset)
        first, last = (at // grid.frame - (end - len(stage)) for at in span)
        stage_score = float(stage[max(0, first) : last].max(initial=0.0))
        reported.append(replace(event, stage_score=stage_score, verified=True, reported=anchor))
    remaining: list[Candidate] = []
    for candidate in candidates:
        if candidate.last is None or (end - ahead <= candidate.last and not ending):
            remaining.append(candidate)
        elif not candidate.used and candidate.final and candidate.onset.onset not in told:
            reported.append(_refuse(candidate.final, config.threshold, candidate.score))
    rest = ScoredFrames(*(x[count:] for x in joined))
    kept = stage[-_to_frames(HISTORY_S, grid) :]
    state = ConfirmationState(
        tuple(remaining), end, (rest,), (final[count:],), kept, second, anchor, told
    )
    return state, reported


def _add_candidates(
    grid: FrameGrid, known: tuple[Candidate, ...], detections: list[Detection]
) -> tuple[list[Candidate], list[Detection]]:
    """The candidates with the new ones, and the onsets to report at once."""
    candidates, onsets = list(known), []
    for detection in detections:
        if detection.phase == "onset":
            opened = detection.detected // grid.frame - 1
            candidates.append(Candidate(detection, opened, None, None, 0.0, False))
            onsets.append(replace(detection, stage_score=detection.score))
        elif detection.offset is not None:
            last = detection.offset // grid.frame - 1 + _to_frames(TAIL_S, grid)
            candidates[-1] = replace(candidates[-1], final=detection, last=last)
    return candidates, onsets


def _update_score(candidate: Candidate, verified: VerifiedScores) -> Candidate:
    first, count = max(0, candidate.opened - verified.start), len(verified.scores)
    last = count if candidate.last is None else candidate.last + 1 - verified.start
    scores = verified.scores[first : max(0, last)]
    return replace(candidate, score=max(candidate.score, float(scores.max(initial=0.0))))


def _take_candidate(candidates: list[Candidate], frame: int) -> tuple[list[Candidate], int | None]:
    """Mark the last candidate as used that ``frame`` belongs to; also returns its onset."""
    for i in reversed(range(len(candidates))):
        candidate = candidates[i]
        over = candidate.last is not None and frame > candidate.last
        if candidate.opened <= frame and not over and not candidate.used:
            used = replace(candidate, used=True)
            return [*candidates[:i], used, *candidates[i + 1 :]], candidate.onset.onset
    return candidates, None


def _shift_offset(event: Detection, samples: int) -> Detection:
    if event.offset is None:
        return event
    return replace(event, offset=max(event.offset - samples, event.onset + 1))


def _refuse(detection: Detection, threshold: float, score: float) -> Detection:
    return replace(
        detection,
        score=score,
        threshold=threshold,
        stage_score=detection.score,
        verified=False,
    )


def _make_silence(grid: FrameGrid, count: int) -> ScoredFrames:
    """Frames of silence."""
    shapes = ((count, len(grid.labels)), (count, grid.stride), (count,))
    return ScoredFrames(*(np.zeros(shape, np.float32) for shape in shapes))


def _to_frames(seconds: float, grid: FrameGrid) -> int:
    return round(seconds * grid.rate / grid.frame)
