"""`streamdet selftest`: named points, and the sources of a configuration."""

from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from conftest import streamdet

from streamdet.daemon.backgrounds import BackgroundFiles
from streamdet.detection.decision import DecisionConfig
from streamdet.detection.false_alarm_rate import DAY_S
from streamdet.detection.frames import FrameGrid
from streamdet.detection.window_scorer import create_scorer
from streamdet.model import bundle as bundles
from streamdet.pipeline import engine_choice, selftest
from streamdet.pipeline.budget_threshold import BudgetThreshold, set_up_budget
from streamdet.pipeline.platform import Platform


@pytest.mark.parametrize("name", ["third", "tiny"])
def test_it_passes_at_every_named_point(name):
    bundle = bundles.load(Path(name))
    engine = engine_choice.live_engine(bundle, Platform.numpy)
    assert {"sensitive", "balanced", "strict"} <= bundle.operating_points.keys()
    for point in bundle.operating_points.values():
        decision = DecisionConfig(point.threshold)
        result = selftest.run_in_memory(engine, decision, scorer=create_scorer(bundle))
        assert result is not None
        assert 0.0 < result.latency_s < 0.5
        if bundle.verifier is not None:
            assert result.verified_s is not None
            assert result.latency_s < result.verified_s < 2.0


def test_each_source_is_tested_at_the_threshold_that_the_daemon_would_use(tmp_path):
    budget = BudgetThreshold(set_up_budget(bundles.load(), 1.0 / DAY_S))
    budget.add(FrameGrid(16_000, 160, 4, ("gunshot",)), np.full(45_000, 0.3), [], event_open=False)
    saved = BackgroundFiles(tmp_path / "backgrounds", lambda *_: None)
    saved.save([("yard", budget)])
    saved.close()
    before = saved.path("yard").stat().st_mtime_ns
    config = tmp_path / "streamdet.toml"
    config.write_text(
        f'operating_point = "strict"\nbackground.folder = "{tmp_path / "backgrounds"}"\n'
        '[[sources]]\nname = "gate"\ndevice = ""\n'
        '[[sources]]\nname = "yard"\ndevice = ""\nfalse_alarms = "1/day"\n'
    )
    done = streamdet("selftest", "--config", config)
    gate, yard = done.stdout.decode().splitlines()
    strict = bundles.load().operating_points["strict"].threshold
    assert done.returncode == 0
    assert gate.startswith("gate: detected")
    assert f"threshold {strict:.4f})" in gate
    assert yard.startswith("yard: detected")
    assert f"threshold {budget.threshold:.4f}, from 0.5 h of background" in yard
    assert "verified after" in yard
    assert saved.path("yard").stat().st_mtime_ns == before

    keys = ("sources.gate.threshold=0.99999", "sources.yard.false_alarms=60/h", "verify=false")
    settings = [word for key in keys for word in ("--set", key)]
    done = streamdet("selftest", "--config", config, *settings)
    assert done.returncode == 1
    assert done.stdout.startswith(b"gate: not detected")
    assert b"another model" in done.stderr  # the scores of the first stage have none saved
    assert b"yard: detected" in done.stdout


def test_the_example_configuration_detects_gunshots(tmp_path):
    example = files("streamdet.config").joinpath("example.toml").read_text()
    config = tmp_path / "streamdet.toml"
    config.write_text(example.replace("#false_alarms", "false_alarms", 1))
    done = streamdet("selftest", "--config", config)
    assert (done.returncode, done.stdout[:17]) == (0, b"default: detected")


def test_options_that_a_configuration_sets_are_an_error(tmp_path):
    config = tmp_path / "streamdet.toml"
    config.write_text("")
    for options in (("--config", config, "--verify", "on"), ("--set", "stall_s=3")):
        done = streamdet("selftest", *options)
        assert done.returncode == 2
        assert done.stderr.count(b"\n") == 1
