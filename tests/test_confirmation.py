"""What is reported of candidates: onsets at once, verified events, and refusals."""

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from streamdet.detection import confirmation, decision
from streamdet.detection.decision import DecisionConfig
from streamdet.detection.frames import FrameGrid, ScoredFrames
from streamdet.detection.verification import VerifiedScores

GRID = FrameGrid(16_000, 160, 4, ("gunshot", "speech"))
CONFIG = DecisionConfig(0.5)
FRAME_S = 0.04


def make_frames(stage, rises=()):
    """Frames with these first-stage scores, and sharp rises in these frames."""
    count = len(stage)
    scores = np.zeros((count, 2), np.float32)
    scores[:, 0] = stage
    flux = np.zeros((count, 4), np.float32)
    flux[list(rises), 2] = 20.0
    return ScoredFrames(scores, flux, np.full(count, 1e-4, np.float32))


def confirm(frames, final, chunks=(), delay=0):
    """All detections, fed in chunks of frames; final scores come ``delay`` frames later."""
    stage_config = CONFIG.for_candidates(0.1)
    stage_state = decision.init(stage_config, GRID)
    state, reported, first, known = confirmation.init(CONFIG, GRID), [], 0, 0
    count = len(final)
    for size in [*chunks, count]:
        last = min(first + size, count)
        part = ScoredFrames(*(x[first:last] for x in frames))
        ending = last == count and first < last
        stage_state, candidates = decision.step(stage_config, GRID, stage_state, part)
        if ending:
            candidates += decision.finish(stage_config, GRID, stage_state)[1]
        upto = count if ending else max(known, last - delay)
        verified = VerifiedScores(known, np.asarray(final[known:upto], np.float32), 0)
        state, new = confirmation.step(
            CONFIG, GRID, state, candidates, [part], verified, ending=ending
        )
        reported += new
        first, known = last, upto
    return reported


def test_the_onset_is_where_the_verifier_heard_it_and_the_event_that_of_its_candidate():
    stage, final = np.zeros(150), np.zeros(150)
    stage[20:75] = 0.2
    final[59:70] = 0.9  # two frames before the rise, because it knows what follows
    found = confirm(make_frames(stage, rises=(18, 61)), final)
    candidate, onset, end = found
    assert (candidate.verified, onset.verified, end.verified) == (None, True, True)
    assert candidate.onset == candidate.first_onset == (18 * 4 + 2) * 160
    assert onset.onset == end.onset == (61 * 4 + 2) * 160
    assert onset.first_onset == end.first_onset == candidate.onset
    assert end.offset == 70 * 640
    assert (round(end.score, 3), round(end.stage_score, 3)) == (0.9, 0.2)
    assert (candidate.threshold, end.threshold) == (0.1, 0.5)


def test_a_long_candidate_can_hold_several_events():
    stage, final = np.full(200, 0.2), np.zeros(200)
    final[30:35] = final[90:95] = 0.8
    found = confirm(make_frames(stage, rises=(30, 90)), final)
    finals = [d for d in found if d.phase == "final"]
    assert [round(d.onset / 16_000, 2) for d in finals] == [1.22, 3.62]
    assert len({d.first_onset for d in found}) == 2
    assert all(d.verified for d in finals)


def test_a_candidate_without_an_event_is_refused_once():
    stage, final = np.zeros(100), np.zeros(100)
    stage[20:25], final[20:25] = 0.3, 0.4
    onset, refused = confirm(make_frames(stage, rises=(20,)), final)
    assert (onset.verified, refused.verified) == (None, False)
    assert (round(refused.score, 3), round(refused.stage_score, 3)) == (0.4, 0.3)
    assert refused.onset == onset.onset


def test_an_event_without_a_candidate_is_reported_as_soon_as_its_scores_are_known():
    state, scores = confirmation.init(CONFIG, GRID), np.zeros(60, np.float32)
    scores[20] = 0.9
    reported = {}
    for i, score in enumerate(scores):
        verified = VerifiedScores(i, np.array([score]), 0)
        state, new = confirmation.step(CONFIG, GRID, state, [], [make_frames([0.0])], verified)
        reported |= {d.phase: i for d in new}
    ahead = round(confirmation.LOOK_AHEAD_S / FRAME_S)
    assert reported == {
        "onset": 20 + ahead,
        "final": 20 + ahead + round(CONFIG.burst_gap_s / FRAME_S),
    }


def describe(detection):
    rounded = replace(detection, score=round(detection.score, 5), labels={}, level_dbfs=0.0)
    return str(rounded)


@settings(deadline=None, max_examples=40)
@given(
    st.integers(1, 160),
    st.lists(st.integers(0, 50), max_size=8),
    st.integers(0, 40),
    st.integers(0, 2**32 - 1),
)
def test_chunks_change_no_detection(count, chunks, delay, seed):
    rng = np.random.default_rng(seed)
    stage = np.where(rng.random(count) < 0.2, rng.random(count), 0.0)
    final = np.where(stage >= 0.1, rng.random(count), stage)
    frames = make_frames(stage, np.flatnonzero(rng.random(count) < 0.1))
    whole = sorted(map(describe, confirm(frames, final)))
    assert sorted(map(describe, confirm(frames, final, chunks, delay))) == whole
    ids = [d.first_onset for d in confirm(frames, final) if d.phase == "final"]
    assert len(ids) == len(set(ids))
