"""Probabilities to events: one event a sound, rounds in a burst, any chunking the same."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamdet.detection import decision
from streamdet.detection.decision import DecisionConfig
from streamdet.detection.frames import FrameGrid, ScoredFrames

GRID = FrameGrid(rate=16_000, hop=160, stride=4, labels=("gunshot", "drum"))
CONFIG = DecisionConfig(threshold=0.6, margin=0.2, burst_gap_s=0.4, refractory_s=0.2, longest_s=4.0)


def heard(gunshot, rises=()):
    """Frames with these probabilities, and 20 dB of flux at these 10 ms frames."""
    count = len(gunshot)
    scores = np.stack([np.asarray(gunshot), np.full(count, 0.1)], axis=1).astype("f")
    flux = np.zeros((count, 4), np.float32)
    for at in rises:
        flux[at // 4, at % 4] = 20.0
    return ScoredFrames(scores, flux, np.full(count, 0.01, np.float32))


def decide(frames, config=CONFIG, cuts=()):
    state, found = decision.init(config, GRID), []
    for part in zip(*(np.split(x, list(cuts)) for x in frames), strict=True):
        state, some = decision.step(config, GRID, state, ScoredFrames(*part))
        found += some
    state, some = decision.finish(config, GRID, state)
    return found + some


def finals(found):
    return [d for d in found if d.phase == "final"]


def bump(length, *spans, high=0.9):
    p = np.full(length, 0.05)
    for first, last in spans:
        p[first:last] = high
    return p


def test_given_a_shot_when_it_is_heard_then_its_onset_is_told_at_once_and_its_end_later():
    found = decide(heard(bump(60, (20, 26)), rises=[78]))
    onset, final = found
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
    assert len(finals(decide(heard(flicker)))) == 1


def test_a_score_between_release_and_threshold_opens_nothing_but_keeps_open():
    assert not decide(heard(bump(50, (10, 30), high=0.5)))
    p = bump(80, (10, 40), high=0.5)
    p[10] = 0.9
    (event,) = finals(decide(heard(p)))
    assert event.offset == 40 * GRID.frame


def test_automatic_fire_is_one_event_with_its_rounds():
    rises = list(range(80, 80 + 10 * 10, 10))
    (event,) = finals(decide(heard(bump(120, (20, 48)), rises)))
    assert event.rounds == 10


def test_shots_apart_are_events_apart():
    found = finals(decide(heard(bump(150, (20, 25), (60, 65), (100, 105)), [80, 240, 400])))
    assert [d.onset for d in found] == [80 * 160, 240 * 160, 400 * 160]


def test_one_rise_over_several_frames_is_one_round():
    (event,) = finals(decide(heard(bump(60, (20, 30)), [80, 81, 82, 83])))
    assert event.rounds == 1


def test_an_event_that_will_not_end_is_closed_and_begun_again_after_the_refractory_time():
    found = finals(decide(heard(bump(260, (10, 260)))))
    longest = round(4.0 * 16_000 / GRID.frame)
    assert len(found) == 3
    assert all(d.offset is not None for d in found)
    assert found[0].offset == (10 + longest + 1) * GRID.frame


def test_nothing_opens_in_the_refractory_time():
    config = DecisionConfig(threshold=0.6, burst_gap_s=0.04, refractory_s=1.0)
    found = finals(decide(heard(bump(100, (10, 12), (20, 22), (60, 62))), config))
    assert len(found) == 2


def test_an_event_open_at_the_end_is_closed():
    (event,) = finals(decide(heard(bump(30, (25, 30)))))
    assert event.offset == 30 * GRID.frame


def test_an_onset_is_never_before_the_stream():
    found = decide(heard(bump(20, (0, 5)), [2]))
    assert found[0].onset == 2 * 160
    assert decide(heard(bump(20, (0, 5))))[0].onset == 0


@given(
    p=st.lists(st.sampled_from([0.0, 0.3, 0.5, 0.7, 0.95]), min_size=1, max_size=200),
    data=st.data(),
)
@settings(max_examples=150, deadline=None)
def test_any_chunking_gives_the_same_events_and_every_onset_its_end(p, data):
    rises = data.draw(st.lists(st.integers(0, 4 * len(p) - 1), max_size=20))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(p)), max_size=10)))
    frames = heard(np.array(p), rises)
    found = decide(frames)
    assert decide(frames, cuts=cuts) == found
    assert [d.phase for d in found] == ["onset", "final"] * (len(found) // 2)
    for onset, final in zip(found[::2], found[1::2], strict=True):
        assert onset.onset == final.onset < final.offset <= len(p) * GRID.frame
        assert final.rounds >= onset.rounds >= 1
        assert final.score >= CONFIG.threshold


@given(threshold=st.floats(0.01, 0.99), margin=st.floats(0.0, 0.9))
def test_the_release_is_always_above_0_and_at_most_the_threshold(threshold, margin):
    assert 0.0 < DecisionConfig(threshold, margin).release <= threshold
