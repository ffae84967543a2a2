"""The decision: one event per sound, rounds in a burst, the same result for any chunking."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamdet.detection import decision
from streamdet.detection.decision import DecisionConfig
from streamdet.detection.frames import FrameGrid, ScoredFrames

GRID = FrameGrid(rate=16_000, hop=160, stride=4, labels=("gunshot", "drum"))
CONFIG = DecisionConfig(threshold=0.6, margin=0.2, burst_gap_s=0.4, refractory_s=0.2, longest_s=4.0)


def scored_frames(gunshot, rises=()):
    """Frames with these gunshot scores, and 20 dB of flux at these log-mel frames."""
    count = len(gunshot)
    scores = np.stack([np.asarray(gunshot), np.full(count, 0.1)], axis=1).astype("f")
    flux = np.zeros((count, 4), np.float32)
    for at in rises:
        flux[at // 4, at % 4] = 20.0
    return ScoredFrames(scores, flux, np.full(count, 0.01, np.float32))


def decide(frames, config=CONFIG, cuts=()):
    state, detections = decision.init(config, GRID), []
    for part in zip(*(np.split(x, list(cuts)) for x in frames), strict=True):
        state, new = decision.step(config, GRID, state, ScoredFrames(*part))
        detections += new
    state, new = decision.finish(config, GRID, state)
    return detections + new


def finals(detections):
    return [d for d in detections if d.phase == "final"]


def bump(length, *spans, high=0.9):
    p = np.full(length, 0.05)
    for first, last in spans:
        p[first:last] = high
    return p


def test_an_onset_is_reported_at_once_and_the_end_later():
    detections = decide(scored_frames(bump(60, (20, 26)), rises=[78]))
    onset, final = detections
    assert (onset.phase, final.phase) == ("onset", "final")
    assert onset.offset is None
    assert onset.detected == 21 * GRID.frame
    assert onset.onset == final.onset == 78 * 160
    assert final.offset == 26 * GRID.frame
    assert final.rounds == 1
    assert final.labels["drum"] == pytest.approx(0.1)
    assert final.level_dbfs == pytest.approx(-20.0, abs=0.01)


def test_a_flickering_score_is_one_event():
    flicker = bump(80, *((i, i + 1) for i in range(20, 40, 3)))
    assert len(finals(decide(scored_frames(flicker)))) == 1


def test_a_score_between_release_and_threshold_opens_nothing_but_keeps_open():
    assert not decide(scored_frames(bump(50, (10, 30), high=0.5)))
    p = bump(80, (10, 40), high=0.5)
    p[10] = 0.9
    (event,) = finals(decide(scored_frames(p)))
    assert event.offset == 40 * GRID.frame


def test_automatic_fire_is_one_event_with_its_rounds():
    rises = list(range(80, 80 + 10 * 10, 10))
    (event,) = finals(decide(scored_frames(bump(120, (20, 48)), rises)))
    assert event.rounds == 10


def test_shots_far_apart_are_separate_events():
    detections = finals(
        decide(scored_frames(bump(150, (20, 25), (60, 65), (100, 105)), [80, 240, 400]))
    )
    assert [d.onset for d in detections] == [80 * 160, 240 * 160, 400 * 160]


def test_one_rise_over_several_frames_is_one_round():
    (event,) = finals(decide(scored_frames(bump(60, (20, 30)), [80, 81, 82, 83])))
    assert event.rounds == 1


def test_an_event_longer_than_longest_s_is_closed_and_a_new_one_opens():
    detections = finals(decide(scored_frames(bump(260, (10, 260)))))
    longest = round(4.0 * 16_000 / GRID.frame)
    assert len(detections) == 3
    assert all(d.offset is not None for d in detections)
    assert detections[0].offset == (10 + longest + 1) * GRID.frame


def test_nothing_opens_in_the_refractory_time():
    config = DecisionConfig(threshold=0.6, burst_gap_s=0.04, refractory_s=1.0)
    detections = finals(decide(scored_frames(bump(100, (10, 12), (20, 22), (60, 62))), config))
    assert len(detections) == 2


def test_an_event_open_at_the_end_is_closed():
    (event,) = finals(decide(scored_frames(bump(30, (25, 30)))))
    assert event.offset == 30 * GRID.frame


def test_an_onset_is_never_before_the_stream():
    detections = decide(scored_frames(bump(20, (0, 5)), [2]))
    assert detections[0].onset == 2 * 160
    assert decide(scored_frames(bump(20, (0, 5))))[0].onset == 0


@given(
    p=st.lists(st.sampled_from([0.0, 0.3, 0.5, 0.7, 0.95]), min_size=1, max_size=200),
    data=st.data(),
)
@settings(max_examples=150, deadline=None)
def test_any_chunking_gives_the_same_events_and_every_onset_has_a_final(p, data):
    rises = data.draw(st.lists(st.integers(0, 4 * len(p) - 1), max_size=20))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(p)), max_size=10)))
    frames = scored_frames(np.array(p), rises)
    detections = decide(frames)
    assert decide(frames, cuts=cuts) == detections
    assert [d.phase for d in detections] == ["onset", "final"] * (len(detections) // 2)
    for onset, final in zip(detections[::2], detections[1::2], strict=True):
        assert onset.onset == final.onset < final.offset <= len(p) * GRID.frame
        assert final.rounds >= onset.rounds >= 1
        assert final.score >= CONFIG.threshold


@given(threshold=st.floats(0.01, 0.99), margin=st.floats(0.0, 0.9))
def test_the_release_is_always_above_0_and_at_most_the_threshold(threshold, margin):
    assert 0.0 < DecisionConfig(threshold, margin).release <= threshold
