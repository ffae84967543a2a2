"""The threshold of a budget over time: budget kept, bursts, scenes, hysteresis."""

import math

import numpy as np
import pytest

from streamdet.detection import adaptive_threshold, background, background_format
from streamdet.detection.adaptive_threshold import ThresholdConfig
from streamdet.detection.background import BackgroundConfig, EventSpan, logit, sigmoid

HOUR, DAY = 3_600, 86_400
PRIOR = background_format.read_prior({}, 0.5)


def config(budget=1.0 / HOUR, half_life_s=DAY, interval_s=900.0, **changes):
    known = BackgroundConfig(frame_s=1.0, half_life_s=half_life_s)
    return ThresholdConfig(budget, known, interval_s=interval_s, **changes)


def ambience(seconds, seed=0, per_second=1 / 60, start=-4.0):
    """Scores of one frame a second: events with exponential excesses over ``start``, logits."""
    rng = np.random.default_rng(seed)
    x = np.full(seconds, -9.0)
    events = rng.random(seconds) < per_second
    x[events] = start + rng.exponential(1.0, events.sum())
    return x


def run(settings, state, x, shots=()):
    """Feed five minutes at a time; every score at the threshold is a reported event.

    ``shots`` are the frames of real shots, of logit 6. Returns the state and the number of reported
    events that are not shots.
    """
    x = x.copy()
    x[list(shots)] = 6.0
    false = 0
    for at in range(0, len(x), 300):
        part = x[at : at + 300]
        p = np.array([sigmoid(v) for v in part])
        frames = np.flatnonzero(p >= state.threshold).tolist()
        false += sum(at + i not in shots for i in frames)
        begin = state.background.second - state.background.stream.begin
        first = begin + len(state.background.stream.pending)
        spans = [EventSpan(first + i, first + i + 1, part[i], int(first + i)) for i in frames]
        state = adaptive_threshold.step(settings, state, p, spans, event_open=False)
    return state, false


def at(state):
    return float(logit(state.threshold))


@pytest.fixture(scope="module")
def settled():
    """A day of background at a budget of one an hour."""
    settings = config()
    state, false = run(settings, adaptive_threshold.init(settings, PRIOR), ambience(DAY))
    return settings, state, false


def test_a_day_stays_within_a_factor_of_two_of_the_budget(settled):
    """The background excludes its own false alarms, and still expects them."""
    settings, state, _ = settled
    right = -4.0 + math.log(60.0)
    assert at(state) == pytest.approx(right, abs=math.log(2.0))
    _, false = run(settings, state, ambience(DAY, seed=1))
    assert 12 <= false <= 48
    assert state.expected_per_day == pytest.approx(24.0, rel=0.3)
    assert state.background.seconds > 0.8 * DAY * (1 - 0.5) / math.log(2.0)


@pytest.mark.parametrize("shots", [range(300, 900, 7), range(300, 900, 60)])
def test_ten_minutes_of_gunfire_change_the_threshold_by_less_than_0_3_logits(settled, shots):
    settings, before, _ = settled
    quiet, _ = run(settings, before, ambience(HOUR, seed=2))
    after, _ = run(settings, before, ambience(HOUR, seed=2), set(shots))
    assert abs(at(after) - at(quiet)) < 0.3
    assert abs(at(after) - at(before)) < 0.3


def test_false_alarms_all_day_raise_the_threshold_without_a_review():
    settings = config(1.0 / DAY)
    first = adaptive_threshold.init(settings, PRIOR)
    x = ambience(12 * HOUR)
    hammer = x.copy()
    hammer[60::120] = 3.0
    quiet, _ = run(settings, first, x)
    state, _ = run(settings, first, hammer)
    assert at(quiet) < 3.0 < at(state)


def test_a_review_as_false_raises_the_threshold_at_once_and_a_true_one_does_not(settled):
    settings, state, _ = settled
    settings = config(1.0 / DAY)
    known = state.background._replace(reports=())
    known = background.step(
        settings.background, known, np.full(600, 1e-4), 0.5,
        [EventSpan(i, i + 1, 5.0, i) for i in range(0, 600, 200)],
    )  # fmt: skip
    for i in range(0, 600, 200):
        known = background.identify(known, i, str(i))
    thresholds = {}
    for verdict in (True, None, False):
        reviewed = known
        for i in range(0, 600, 200):
            reviewed = background.review(reviewed, {str(i): verdict})
        thresholds[verdict] = at(adaptive_threshold.resume(settings, reviewed))
    assert thresholds[True] == thresholds[None] < 5.0 <= thresholds[False]


def test_a_louder_scene_raises_the_threshold_and_its_end_lowers_it(settled):
    _, before, _ = settled
    settings = config(half_life_s=4 * HOUR)
    during, _ = run(settings, before, ambience(4 * HOUR, seed=3, start=-1.0))
    assert at(during) > at(before) + 0.8
    after, _ = run(settings, during, ambience(16 * HOUR, seed=4))
    assert at(after) < at(during) - 0.5


def test_the_threshold_stays_while_an_event_is_open_and_between_its_limits():
    settings = config(1.0 / DAY, floor=0.3, ceiling=0.6)
    state = adaptive_threshold.init(settings, background_format.read_prior({}, 0.6))
    assert state.threshold == 0.6
    p = np.full(900, 1e-6)
    for _ in range(10):
        state = adaptive_threshold.step(settings, state, p, event_open=True)
    assert state.threshold == 0.6
    state = adaptive_threshold.step(settings, state, p, event_open=False)
    assert 0.3 <= state.threshold < 0.6


def test_small_differences_and_short_times_change_nothing():
    settings = config(interval_s=60.0, least_change=0.5)
    state, p = adaptive_threshold.init(settings, PRIOR), np.zeros(0)
    for minute in range(120):
        p = np.array([sigmoid(v) for v in ambience(60, seed=minute)])
        after = adaptive_threshold.step(settings, state, p, event_open=False)
        change = abs(at(after) - at(state))
        assert change == 0.0 or change >= 0.5 - 1e-6
        state = after
    short = adaptive_threshold.step(settings, state, p[:30], event_open=False)
    assert short.curve is state.curve


def test_a_gap_in_the_stream_keeps_the_background():
    settings = config()
    state = adaptive_threshold.init(settings, PRIOR)
    p = np.array([sigmoid(v) for v in ambience(600)])
    state = adaptive_threshold.step(settings, state, p, event_open=False)
    ended = adaptive_threshold.finish(settings, state)
    assert ended.background.second == 600
    assert ended.threshold == state.threshold
    again = adaptive_threshold.step(settings, ended, p, event_open=False)
    assert again.background.seconds > state.background.seconds
