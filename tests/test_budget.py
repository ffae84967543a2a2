"""Budgets of false alarms as text."""

import pytest

from streamdet.budget import parse_budget


@pytest.mark.parametrize(
    ("text", "per_day"),
    [("1/day", 1), ("2/h", 48), ("0.5/week", 1 / 14), (" 3 / D ", 3), (".5/hour", 12), ("7/w", 1)],
)
def test_a_budget_is_events_per_second(text, per_day):
    assert parse_budget(text) * 86_400 == pytest.approx(per_day)


@pytest.mark.parametrize("text", ["", "1", "/day", "0/day", "-1/day", "1/minute", "1 day", "e/h"])
def test_another_text_is_refused_in_one_line(text):
    with pytest.raises(ValueError, match=r"Use 1/day, 2/h or 0\.5/week") as error:
        parse_budget(text)
    assert "\n" not in str(error.value)
