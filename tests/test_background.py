"""The background of a source and its false alarm rate: what is counted, the tail, the threshold."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamdet.detection import background, background_format, false_alarm_rate
from streamdet.detection.background import BackgroundConfig, EventSpan, Prior, logit, sigmoid
from streamdet.detection.background_format import BackgroundError
from streamdet.detection.false_alarm_rate import DAY_S, TailConfig

CONFIG = BackgroundConfig(frame_s=0.04)
SECONDS = BackgroundConfig(frame_s=1.0, half_life_s=math.inf)
QUIET, LOUD = sigmoid(-6.0), sigmoid(3.0)


def scores(seconds, *loud, frame_s=0.04):
    """Quiet scores with loud ones from a to b seconds for each (a, b)."""
    p = np.full(round(seconds / frame_s), QUIET)
    for first, last in loud:
        p[round(first / frame_s) : round(last / frame_s)] = LOUD
    return p


def run(config, p, threshold=0.999, spans=(), cuts=()):
    state, at = background.init(config), 0
    for part in np.split(p, list(cuts)):
        ending = [span for span in spans if at < span.last <= at + len(part)]
        at += len(part)
        state = background.step(config, state, part, threshold, ending)
    return background.finish(config, state)


def starts_at(state, level):
    return state.starts[round((level - background.LOWEST) / background.STEP)]


def exposure_at(state, level):
    return state.exposure[round((level - background.LOWEST) / background.STEP)]


def tail_state(scale, hours, seed=0):
    """A background whose events come once a minute, with exponential excesses over logit -4."""
    rates = np.minimum(np.exp(-(background.levels() + 4.0) / scale) / 60.0, 1.0)
    counts = np.random.default_rng(seed).poisson(-np.diff(rates, append=0.0) * hours * 3_600.0)
    starts = np.cumsum(counts[::-1])[::-1].astype(float)
    state = background.init(SECONDS)
    exposure = np.full(background.COUNT, hours * 3_600.0)
    return state._replace(starts=starts, exposure=exposure, seconds=hours * 3_600.0)


def estimate(state, config=SECONDS):
    return false_alarm_rate.estimate_rates(config, TailConfig(), state)


def same(first, second):
    for a, b in zip(first, second, strict=True):
        np.testing.assert_equal(a, b)


def test_a_long_sound_is_one_event_and_separate_blows_are_many():
    config = BackgroundConfig(frame_s=0.04, half_life_s=math.inf)
    assert starts_at(run(config, scores(60, (10, 40))), 0.0) == 1
    blows = [(10 + 2 * i, 10.2 + 2 * i) for i in range(10)]
    assert starts_at(run(config, scores(60, *blows)), 0.0) == 10
    burst = [(10 + 0.3 * i, 10.1 + 0.3 * i) for i in range(10)]
    assert starts_at(run(config, scores(60, *burst)), 0.0) == 1
    assert starts_at(run(config, scores(60, *blows)), 4.0) == 0


def test_seconds_near_a_reported_event_are_not_observed():
    config = BackgroundConfig(frame_s=0.04, half_life_s=math.inf)
    p = scores(200, (100, 101), (110, 111), (150, 151))
    span = EventSpan(2_500, 2_525, 3.0, 0)
    state = run(config, p, spans=[span])
    assert starts_at(state, 0.0) == 1  # the sound at 110 s lies in the guard time
    assert exposure_at(state, 0.0) == state.seconds == pytest.approx(139)


def test_a_source_that_reports_without_end_is_observed_in_the_end():
    config = BackgroundConfig(0.04, half_life_s=math.inf, skip_s=60.0, skip_share=0.0)
    sounds = [(at, at + 0.2) for at in range(10, 200, 10)]
    spans = [EventSpan(25 * at, 25 * at + 5, 3.0, at) for at in range(10, 200, 10)]
    state = run(config, scores(200, *sounds), threshold=0.5, spans=spans)
    assert exposure_at(state, 0.0) == state.seconds == pytest.approx(140)
    assert starts_at(state, 0.0) == 14


def test_a_level_above_the_threshold_in_force_is_not_observed():
    state = run(CONFIG, scores(100), threshold=0.5)
    assert exposure_at(state, -0.1) > 99
    assert exposure_at(state, 0.1) == 0


def test_a_second_counts_half_after_the_half_life():
    config = BackgroundConfig(frame_s=1.0, half_life_s=100.0)
    old, new = scores(10, (5, 6), frame_s=1.0), scores(110, (105, 106), frame_s=1.0)
    assert starts_at(run(config, np.concatenate([old, scores(100, frame_s=1.0)])), 0.0) == (
        pytest.approx(starts_at(run(config, new), 0.0) / 2)
    )


@given(
    levels=st.lists(st.floats(-8.0, 6.0), min_size=200, max_size=200),
    first=st.integers(0, 150),
    length=st.integers(1, 40),
    cuts=st.lists(st.integers(0, 800), max_size=8),
)
@settings(max_examples=40, deadline=None)
def test_any_chunking_gives_the_same_state(levels, first, length, cuts):
    config = BackgroundConfig(frame_s=0.25, half_life_s=50.0)
    p = np.repeat([sigmoid(level) for level in levels], 4)
    spans = [EventSpan(first, first + length, 3.0, first * 4_000)]
    same(run(config, p, 0.9, spans, sorted(cuts))[:6], run(config, p, 0.9, spans)[:6])


@given(
    seed=st.integers(0, 1_000),
    hours=st.floats(0.05, 100.0),
    budgets=st.lists(st.floats(1e-8, 1.0), min_size=2, max_size=10),
    reports=st.lists(st.tuples(st.floats(-8.0, 9.0), st.sampled_from([None, True, False]))),
)
@settings(max_examples=60, deadline=None)
def test_a_larger_budget_never_gives_a_higher_threshold(seed, hours, budgets, reports):
    state = tail_state(1.0, hours, seed)
    rows = tuple(background.Report(0, score, 0, "", verdict) for score, verdict in reports)
    curve = estimate(state._replace(reports=rows), BackgroundConfig(1.0))
    thresholds = [false_alarm_rate.threshold_for(curve, b) for b in sorted(budgets)]
    assert thresholds == sorted(thresholds, reverse=True)
    assert all(0.0 < threshold < 1.0 for threshold in thresholds)
    expected = [false_alarm_rate.expected_per_day(curve, threshold) for threshold in thresholds]
    assert expected == sorted(expected)


@pytest.mark.parametrize("scale", [0.5, 1.0, 1.5])
def test_the_tail_reaches_rates_that_were_never_observed(scale):
    """A day of background gives the threshold of one a day within a factor of 3 in rate."""
    curve = estimate(tail_state(scale, 24.0))
    threshold = float(logit(false_alarm_rate.threshold_for(curve, 1 / DAY_S)))
    true_rate = math.exp(-(threshold + 4.0) / scale) / 60.0 * DAY_S
    assert 1 / 3 < true_rate < 3
    assert curve.tail is not None
    assert curve.tail.events > 600
    assert abs(curve.tail.shape) < 0.1


def test_the_expected_false_alarms_are_the_inverse_of_the_threshold():
    curve = estimate(tail_state(1.0, 10.0))
    for per_day in (0.2, 1.0, 24.0):
        threshold = false_alarm_rate.threshold_for(curve, per_day / DAY_S)
        assert false_alarm_rate.expected_per_day(curve, threshold) == pytest.approx(per_day, 0.01)


def test_unobserved_levels_do_not_shorten_the_tail():
    """The same background, seen only below a threshold that 1 event in 30 reaches."""
    state = tail_state(1.0, 200.0)
    cut = round((math.log(30.0) - 4.0 - background.LOWEST) / background.STEP)
    seen = np.arange(background.COUNT) < cut
    starts = np.where(seen, state.starts - state.starts[cut], 0.0)
    censored = state._replace(starts=starts, exposure=state.exposure * seen)
    thresholds = [
        float(logit(false_alarm_rate.threshold_for(estimate(s), 1 / DAY_S)))
        for s in (state, censored)
    ]
    assert -0.6 < thresholds[1] - thresholds[0] < 1.5


def test_an_unreviewed_burst_counts_once_and_reviews_decide():
    config = BackgroundConfig(1.0)
    state = background.init(config)._replace(second=7_200)
    burst = tuple(background.Report(5 * i, 3.0, i, f"e{i}") for i in range(120))
    once = config.false_share / config.memory_s

    def rate(state):
        return background.reported_rates(config, state)[round((0.0 + 14) / 0.1)]

    state = state._replace(reports=burst)
    assert rate(state) == pytest.approx(once, rel=0.1)
    true = background.review(state, {"e0": True})
    assert rate(true) < rate(state)
    false = background.review(state, {"e0": False, "e1": False})
    assert rate(false) > 2.0 * rate(state) / config.false_share * 0.9
    assert background.review(state, {"unknown": False}).reports == state.reports
    hours = tuple(background.Report(1_800 * i, 3.0, i) for i in range(5))
    assert rate(state._replace(reports=hours)) == pytest.approx(5 * once, rel=0.1)


def test_an_event_gets_its_id():
    state = run(CONFIG, scores(100, (50, 51)), spans=[EventSpan(1_250, 1_275, 3.0, 800)])
    (report,) = background.identify(state, 800, "id").reports
    assert (report.second, report.key, report.verdict) == (50, "id", None)
    assert background.identify(state, 801, "id").reports == state.reports


def test_the_state_survives_json():
    state = run(CONFIG, scores(300, (50, 51), (200, 201)), spans=[EventSpan(1_250, 1_275, 3.0, 8)])
    record = json.loads(json.dumps(background_format.to_json(state, "m")))
    read = background_format.from_json(CONFIG, record, "m")
    np.testing.assert_allclose(read.starts, state.starts, atol=1e-6)
    np.testing.assert_allclose(read.exposure, state.exposure, atol=1e-3)
    assert (read.second, read.seconds, read.reports) == (300, state.seconds, state.reports)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": "streamdet.background/9"}, "version"),
        ({"model": "other"}, "another model"),
        ({"starts": [1.0]}, "expected 281 values"),
        ({"exposure": [-1.0] * 281}, "expected 281 values"),
        ({"starts": [float("nan")] * 281}, "expected 281 values"),
        ({"second": -1}, "negative"),
        ({"second": None}, "damaged"),
        ({"step": 0.2}, "levels"),
        ({"reports": [[1, 2]]}, "damaged"),
        ({"reports": [[1, 2.0, 3, "k", "maybe"]]}, "damaged"),
    ],
)
def test_a_damaged_state_is_refused(change, message):
    record = background_format.to_json(background.init(CONFIG), "m") | change
    with pytest.raises(BackgroundError, match=message):
        background_format.from_json(CONFIG, record, "m")
    with pytest.raises(BackgroundError, match="version"):
        background_format.from_json(CONFIG, [], "m")


def test_a_prior_is_the_background_of_other_places():
    state = tail_state(1.0, 50.0)
    card = {"background": json.loads(json.dumps(background_format.describe_prior(state)))}
    prior = background_format.read_prior(card, 0.5)
    np.testing.assert_allclose(prior.rates, state.starts / state.seconds)
    alone = estimate(background.init(CONFIG, prior), CONFIG)
    at = [false_alarm_rate.threshold_for(c, 1 / DAY_S) for c in (alone, estimate(state))]
    assert float(logit(at[0])) == pytest.approx(float(logit(at[1])), abs=1.0)
    with pytest.raises(BackgroundError, match="seconds"):
        background_format.read_prior({"background": card["background"] | {"seconds": 0}}, 0.5)


@pytest.mark.parametrize("threshold", [0.1, 0.5, 0.9, 0.99])
def test_without_a_prior_the_threshold_gives_about_one_a_day(threshold):
    prior = background_format.read_prior({}, threshold)
    curve = estimate(background.init(CONFIG, prior), CONFIG)
    found = false_alarm_rate.threshold_for(curve, 1 / DAY_S)
    assert float(logit(found)) == pytest.approx(float(logit(threshold)), abs=1.0)


def test_a_prior_fades():
    prior = Prior(np.full(background.COUNT, 0.01), 3_600.0)
    config = BackgroundConfig(1.0, half_life_s=600.0)
    state = background.step(config, background.init(config, prior), np.full(6_060, QUIET), 0.999)
    assert starts_at(state, 0.0) == pytest.approx(36.0 / 1_024, rel=0.01)


def test_digital_silence_has_the_lowest_threshold():
    config = BackgroundConfig(1.0)
    curve = estimate(run(config, np.zeros(1_000)), config)
    assert curve.tail is None
    assert false_alarm_rate.threshold_for(curve, 1 / DAY_S) == pytest.approx(sigmoid(-14.0))
