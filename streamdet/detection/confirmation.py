"""Candidates to verified events: the detections of the first stage, with the verifier's scores.

The first stage's decision runs at the candidate threshold. Its onset is passed on at once. The
event is reported a second time, as an onset with ``verified`` True, when a final score of its
frames reaches the threshold. Its final detection waits until all its frames have final scores, and
carries the highest of them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from streamdet.detection.event import Detection
from streamdet.detection.frames import FrameGrid
from streamdet.detection.verification import VerifiedScores

TAIL_S = 0.2
"""The verifier may place a shot this much later than the first stage."""


@dataclass(frozen=True)
class Candidate:
    """A first-stage event whose frames do not all have final scores yet.

    ``opened`` is its first scored frame, ``last`` its last one once it is over. ``score`` is the
    highest final score so far.
    """

    onset: Detection
    opened: int
    last: int | None
    final: Detection | None
    score: float
    verified: bool


class ConfirmationState(NamedTuple):
    """``candidates``: in order. ``known``: frames with final scores."""

    candidates: tuple[Candidate, ...]
    known: int


def init() -> ConfirmationState:
    """The state before the first frame."""
    return ConfirmationState((), 0)


def step(
    threshold: float,
    grid: FrameGrid,
    state: ConfirmationState,
    detections: list[Detection],
    verified: VerifiedScores,
    *,
    ending: bool = False,
) -> tuple[ConfirmationState, list[Detection]]:
    """Add the first stage's new ``detections`` and the scores that are final now.

    Returns the detections to report, in order. With ``ending`` no more scores follow.
    """
    reported: list[Detection] = []
    candidates = list(state.candidates)
    for detection in detections:
        if detection.phase == "onset":
            opened = detection.detected // grid.frame - 1
            candidates.append(Candidate(detection, opened, None, None, 0.0, False))
            reported.append(replace(detection, stage_score=detection.score))
        elif detection.offset is not None:
            tail = round(TAIL_S * grid.rate / grid.frame)
            last = detection.offset // grid.frame - 1 + tail
            candidates[-1] = replace(candidates[-1], final=detection, last=last)
    known = verified.start + len(verified.scores)
    remaining: list[Candidate] = []
    for candidate in candidates:
        first = max(candidate.opened, verified.start)
        end = known if candidate.last is None else min(known, candidate.last + 1)
        scores = verified.scores[first - verified.start : max(0, end - verified.start)]
        score = max(candidate.score, float(scores.max(initial=0.0)))
        if score >= threshold and not candidate.verified:
            # the first score that reaches it, which does not depend on the chunking
            reached = float(scores[np.argmax(scores >= threshold)])
            reported.append(_confirm(candidate.onset, threshold, reached, verified=True))
        candidate = replace(candidate, score=score, verified=score >= threshold)
        final, last = candidate.final, candidate.last
        if final is None or last is None or (known <= last and not ending):
            remaining.append(candidate)
        else:
            reported.append(_confirm(final, threshold, score, verified=candidate.verified))
    return ConfirmationState(tuple(remaining), known), reported


def _confirm(detection: Detection, threshold: float, score: float, *, verified: bool) -> Detection:
    return replace(
        detection,
        score=score,
        threshold=threshold,
        stage_score=detection.score,
        verified=verified,
    )
