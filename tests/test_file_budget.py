"""Budgets of false alarms of files and scans."""

import numpy as np
import pytest
from conftest import records, streamdet
from test_budget_threshold import GRID, SETUP, audio

from streamdet.detection.background import logit
from streamdet.pipeline.file_threshold import choose_file_threshold


def test_a_file_has_the_threshold_of_its_own_background_without_its_events():
    quiet = audio(1_200)[:: GRID.frame, 0]
    shots = quiet.copy()
    for second in range(300, 330, 3):
        shots[second * 25 : second * 25 + 5] = 0.999
    found = [
        float(logit(choose_file_threshold(SETUP, streams)))
        for streams in ([quiet], [shots], [quiet, quiet])
    ]
    assert found[1] == pytest.approx(found[0], abs=0.3)
    assert found[2] >= found[0] - 0.3
    loud = audio(1_200, start=-2.0)[:: GRID.frame, 0]
    assert float(logit(choose_file_threshold(SETUP, [loud]))) > found[0] + 0.5
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
