"""`streamdet thresholds`: what it prints of the saved backgrounds."""

import json

from conftest import streamdet

from streamdet.daemon.backgrounds import BackgroundFiles
from streamdet.detection.false_alarm_rate import DAY_S
from streamdet.model import bundle as bundles
from streamdet.pipeline.budget_threshold import BudgetThreshold, set_up_budget, set_up_fixed


def test_the_saved_thresholds_are_printed(tmp_path):
    setting = f"background.folder={tmp_path}"
    empty = streamdet("thresholds", "--set", setting)
    assert empty.returncode == 2
    assert empty.stderr.count(b"\n") == 1
    files = BackgroundFiles(tmp_path, lambda *_: None)
    budget = BudgetThreshold(set_up_budget(bundles.load(), 1.0 / DAY_S))
    fixed = BudgetThreshold(set_up_fixed(bundles.load(), 0.5))
    files.save([("The Gate", budget), ("yard", fixed)])
    files.close()
    header, gate, yard = streamdet("thresholds", "--set", setting).stdout.decode().splitlines()
    assert header.split() == ["source", "threshold", "budget", "expected", "background", "tail"]
    assert gate.startswith("The Gate")
    assert yard.startswith("yard")
    assert f"{budget.threshold:.4f}" in gate
    assert "1/day" in gate
    assert "0 min" in gate
    assert "none" in yard
    shown = json.loads(streamdet("thresholds", "--set", setting, "--json").stdout)
    assert [record["source"] for record in shown] == ["The Gate", "yard"]
