"""The page about thresholds: charts, the effect of other thresholds and budgets, and the API."""

import re

import numpy as np
import pytest
from conftest import wait_for
from hypothesis import given, settings
from hypothesis import strategies as st

from streamdet.budget import parse_budget
from streamdet.detection import background
from streamdet.detection.false_alarm_rate import DAY_S, expected_per_day
from streamdet.detection.frames import FrameGrid
from streamdet.model import bundle as bundles
from streamdet.pipeline.budget_threshold import BudgetThreshold, set_up_budget, set_up_fixed
from streamdet.web.charts import format_rate, format_score
from streamdet.web.rate_chart import Background, plot_rates, rate_y, score_x
from streamdet.web.thresholds import describe_threshold


@pytest.fixture(scope="module")
def known() -> Background:
    return Background.of(BudgetThreshold(set_up_budget(bundles.load(), 2.0 / DAY_S)))


def test_the_page_and_the_api_show_every_source(budget_daemon):
    http = budget_daemon.http
    gate = http.get("/thresholds", params={"source": "gate"}).text
    assert "from the budget <strong>1/day</strong>" in gate
    assert "<strong>0.5 hours</strong>" in gate
    assert "generalised Pareto tail" in gate
    assert "1/day (in force)" in gate
    assert 'aria-label="trial"' not in gate
    both = http.get("/thresholds").text
    assert "fixed: no budget is set" in both
    for points in re.findall(r'class="(?:estimate|prior)" points="([^"]*)"', both):
        assert len(points.split()) == background.COUNT
    assert "threshold <span data-threshold>0.60</span>" in http.get("/").text
    records = {record["source"]: record for record in http.get("/api/thresholds").json()}
    assert records.keys() == {"gate", "trial"}
    assert records["trial"]["threshold"] == 0.6
    assert records["trial"]["budget_per_day"] is None
    assert records["gate"]["budget_per_day"] == pytest.approx(1.0)
    for record in records.values():
        thresholds = [row["threshold"] for row in record["budgets"]]
        assert thresholds == sorted(thresholds)
        expected = [row["expected_per_day"] for row in record["budgets"]]
        assert expected == sorted(expected, reverse=True)
    assert http.get("/api/thresholds?source=nobody").json() == []


def test_a_fixed_threshold_has_a_background(budget_daemon):
    daemon = budget_daemon.daemon
    assert daemon.metric("expected_false_alarms_per_day", source="trial") > 0.0
    wait_for(lambda: daemon.metric("background_seconds", source="gate") > 1_700, 5)
    assert daemon.stop() == 0
    assert [path.name for path in (daemon.folder / "backgrounds").iterdir()] == ["gate.json"]


def test_an_unusual_budget_is_listed_with_its_threshold(known):
    described = describe_threshold("gate", known.state.threshold, known, [], 0.0)
    assert described.budget == "2/day"
    assert "2/day" in [text for text, _, _ in described.budgets]
    rates = [parse_budget(text) for text, _, _ in described.budgets]
    assert rates == sorted(rates, reverse=True)
    for text, _, effect in described.budgets:
        if 0.01 < effect.threshold < 0.9999:
            per_day = parse_budget(text) * DAY_S
            assert effect.expected_per_day == pytest.approx(per_day, rel=0.02)


def test_counted_sounds_are_drawn_without_the_bundles_background(known):
    assert plot_rates(known).observed == ""
    budget = BudgetThreshold(set_up_fixed(bundles.load(), 0.6))
    scores = np.full(20_000, 1e-5, np.float32)
    scores[2_000:16_000:1_000] = background.sigmoid(0.01)  # 14 sounds
    budget.add(FrameGrid(16_000, 640, 4, ("gunshot",)), scores, [], event_open=True)
    now = Background.of(budget)
    points = [tuple(map(float, p.split(","))) for p in plot_rates(now).observed.split()]
    last, outline = points[-1], points[1:-1]
    assert last[0] == pytest.approx(score_x(background.sigmoid(0.1)), abs=0.02)
    per_day = 14 * DAY_S / now.own_s
    assert min(y for _, y in outline) <= rate_y(per_day) + 0.1
    assert outline[-1][1] == pytest.approx(rate_y(per_day), abs=0.1)
    assert now.prior_s == pytest.approx(3_600.0, rel=0.01)


counts = st.dictionaries(
    st.integers(0, 10_000), st.tuples(*[st.integers(0, 9)] * 3).filter(any), max_size=30
)


@given(threshold=st.floats(0.0, 1.0), highest=st.floats(0.0, 1.0), counts=counts)
@settings(max_examples=100, deadline=None)
def test_the_slider_counts_exactly(known, threshold, highest, counts):
    rows = [(score / 10_000, *numbers) for score, numbers in sorted(counts.items())]
    described = describe_threshold("gate", threshold, known, rows, highest)
    assert described.steps[described.position] == described.effect
    assert described.effect.threshold == threshold
    thresholds = [step.threshold for step in described.steps]
    assert thresholds == sorted(thresholds)
    for step in described.steps:
        above = [row[1:] for row in rows if row[0] >= round(step.threshold, 4)]
        assert step.events == sum(map(sum, above))
        assert (step.true, step.false) == (sum(r[0] for r in above), sum(r[1] for r in above))
        assert step.complete == (round(step.threshold, 4) >= round(max(threshold, highest), 4))
        assert step.expected_per_day == expected_per_day(known.state.curve, step.threshold)
        assert 0.0 <= step.x <= 100.0
    assert sum(bar.events for bar in described.bars) == sum(sum(row[1:]) for row in rows)
    assert all(0.0 <= bar.x <= 100.0 - bar.width + 1e-9 for bar in described.bars)


@pytest.mark.parametrize(
    ("rate", "text"),
    [(0.0, "less than 0.001"), (0.036, "0.036"), (0.99996, "1.0"), (5.96, "6.0"), (12.4, "12"),
     (99.6, "100"), (12_345.6, "12,346")],
)  # fmt: skip
def test_rates_have_two_digits_or_more(rate, text):
    assert format_rate(rate) == text


@pytest.mark.parametrize(
    ("score", "text"),
    [(0.0, "0.00"), (0.5, "0.50"), (0.873, "0.87"), (0.04, "0.040"), (0.9993, "0.9993"),
     (0.99999, "1.0000"), (1.0, "1.00")],
)  # fmt: skip
def test_scores_close_to_1_have_more_decimals(score, text):
    assert format_score(score) == text
