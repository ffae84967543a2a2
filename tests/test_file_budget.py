"""Budgets of false alarms of files and scans."""

from dataclasses import replace

import numpy as np
import pytest
from conftest import records, streamdet
from hypothesis import given, settings
from hypothesis import strategies as st
from test_budget_threshold import GRID, SETUP, audio

from streamdet.detection.background import logit, sigmoid
from streamdet.pipeline.file_threshold import choose_file_threshold


@settings(deadline=None, max_examples=4)
@given(
    st.integers(0, 99),
    st.sampled_from([0.0, 0.05]),
    st.floats(0.1, 100.0),
    st.floats(1.0, 10.0),
)
def test_a_larger_budget_gives_no_higher_threshold(seed, shots, per_hour, factor):
    scores = audio(300, seed)[:: GRID.frame, 0]
    rng = np.random.default_rng(seed)
    scores[rng.random(len(scores)) < shots / 25] = 0.99

    def threshold(budget):
        config = replace(SETUP.config, budget=budget / 3_600)
        return choose_file_threshold(SETUP._replace(config=config), [scores])

    assert threshold(per_hour * factor) <= threshold(per_hour)


@pytest.mark.parametrize("shots_per_hour", [0, 60, 300])
def test_false_alarms_of_a_file_are_near_the_budget_however_many_shots_it_has(shots_per_hour):
    budget, alarms, missed = 6.0, 0, 0
    setup = SETUP._replace(config=replace(SETUP.config, budget=budget / 3_600))
    for seed in range(2):
        scores = audio(3_600, seed, start=-2.0, per_second=0.1)[:: GRID.frame, 0]
        rng, second = np.random.default_rng(seed), np.arange(3_600)
        shots = rng.choice(second, shots_per_hour, replace=False)
        highest = np.array([sigmoid(x) for x in rng.uniform(0.0, 7.0, len(shots))])
        peaks = scores.reshape(-1, 25).max(axis=1)
        scores.reshape(-1, 25)[shots, :5] = highest[:, None]
        threshold = choose_file_threshold(setup, [scores])
        alarms += int((np.delete(peaks, shots) >= threshold).sum())
        missed += int((highest < threshold).sum())
    assert budget / 2 < alarms / 2 < 2 * budget
    assert missed <= 0.8 * 2 * shots_per_hour


def test_a_file_has_the_threshold_of_its_own_background_without_its_events():
    setup = SETUP._replace(config=replace(SETUP.config, budget=6.0 / 3_600))
    quiet = audio(1_200)[:: GRID.frame, 0]
    shots = quiet.copy()
    for second in range(300, 330, 3):
        shots[second * 25 : second * 25 + 5] = 0.999
    found = [
        float(logit(choose_file_threshold(setup, streams)))
        for streams in ([quiet], [shots], [quiet, quiet])
    ]
    assert found[1] == pytest.approx(found[0], abs=1.0)
    assert found[2] >= found[0] - 0.3
    loud = audio(1_200, start=-2.0)[:: GRID.frame, 0]
    assert float(logit(choose_file_threshold(setup, [loud]))) > found[0] + 0.5
    assert 0.0 < choose_file_threshold(SETUP, [np.zeros(0, np.float32)]) < 1.0


def test_a_budget_that_a_file_cannot_have_is_an_error(wav):
    result = streamdet("file", wav, "--false-alarms", "1/day", "--threshold", "0.5")
    assert result.returncode == 2
    assert b"--false-alarms: give it without --threshold" in result.stderr
    result = streamdet("file", "-", "--false-alarms", "1/day")
    assert result.returncode == 2
    assert b"stdin" in result.stderr
    result = streamdet("file", wav, "--false-alarms", "often")
    assert result.stderr.count(b"\n") == 1


def test_files_and_a_scan_agree_on_a_budget(wav, tmp_path):
    alone = records(streamdet("file", wav, "--false-alarms", "1/h").stdout)
    manifest = tmp_path / "m.db"
    scanned = records(
        streamdet("scan", wav, "--false-alarms", "1/h", "--manifest", manifest).stdout
    )
    key = [(e["onset_sample"], e["threshold"]) for e in alone]
    assert [(e["onset_sample"], e["threshold"]) for e in scanned] == key
