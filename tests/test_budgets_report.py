"""Budgets measured on streams made here: the streams, their replay, the figures and the page."""

import subprocess
import sys

import numpy as np
import pytest
from conftest import ROOT
from test_field_recordings import city  # noqa: F401 - a fixture

from streamdet.audio.source import Block
from streamdet.budget import parse_budget
from streamdet.constants import RATE
from streamdet.detection.decision import DecisionConfig
from streamdet.detection.engine import frames_per_block
from streamdet.detection.jax_engine import JaxEngine
from streamdet.detection.window_scorer import create_scorer
from streamdet.model import bundle as bundles
from streamdet.pipeline.budget_threshold import BudgetThreshold, set_up_budget
from streamdet.pipeline.source_pipeline import SourcePipeline
from train.data import places
from train.data.corpus import Corpus
from train.data.mixtures import MixtureEvent
from train.evaluation import budget_page, budget_scenes, stream_scores
from train.evaluation.budget_outcomes import Outcome, count_found, poisson_interval, sum_outcomes
from train.evaluation.budgets import StreamLengths

PIECE_S = 60


@pytest.fixture(autouse=True)
def short_pieces(monkeypatch):
    monkeypatch.setattr(places, "PIECE_S", PIECE_S)
    monkeypatch.setattr(places, "SHOTS_H", 120.0)
    schedules = {"Rain, then a band": (("rain", 2), ("music venue", 2))}
    monkeypatch.setattr(budget_scenes, "SCHEDULES", schedules)


def find_place(corpus, name):
    (place,) = (p for p in places.list_places(corpus, "val") if p.name == name)
    return place


def test_only_places_with_clips_are_listed(cache):
    corpus = Corpus(cache)
    assert [p.name for p in places.list_places(corpus, "val")] == ["rain", "music venue", "film"]
    material = places.describe_material(corpus, "val", find_place(corpus, "rain"))
    assert (material.beds, material.sounds, material.shots) == (2, 2, 2)
    assert material.bed_minutes == pytest.approx(10.0 / 60.0)


@pytest.mark.parametrize("name", ["rain", "film"])
def test_a_stream_is_the_same_each_time_and_has_its_shots(cache, name):
    corpus = Corpus(cache)
    schedule = [(find_place(corpus, name), 2)]
    parts, again = (list(places.make_stream(corpus, "val", schedule, 5, 120.0)) for _ in "ab")
    x = np.concatenate([part.samples for part in parts])
    assert len(x) == (2 * PIECE_S - 1) * RATE
    assert np.abs(x).max() <= 1.0
    np.testing.assert_array_equal(x, np.concatenate([part.samples for part in again]))
    truth = [event for part in parts for event in part.truth]
    assert [event.ebr_db for event in truth] == [0.0, 6.0, 12.0, 20.0]
    silent = np.concatenate(
        [part.samples for part in places.make_stream(corpus, "val", schedule, 5, 0.0)]
    )
    changed = np.flatnonzero(x != silent) / RATE
    near = np.zeros(len(changed), bool)
    for event in truth:
        near |= (changed >= event.onset_s - 0.2) & (changed <= event.offset_s + 4.0)
    assert len(changed)
    assert near.all()


def test_a_shot_has_its_ratio_to_the_background(cache):
    corpus = Corpus(cache)
    schedule = [(find_place(corpus, "rain"), 1)]
    with_shots, without = (
        next(places.make_stream(corpus, "val", schedule, 5, shots_h)) for shots_h in (120.0, 0.0)
    )
    for event in with_shots.truth:
        span = slice(round(event.onset_s * RATE), round(event.offset_s * RATE))
        shot = with_shots.samples[span] - without.samples[span]
        ratio = np.mean(shot**2) / np.mean(without.samples[span] ** 2)
        assert 10.0 * np.log10(ratio) == pytest.approx(event.ebr_db, abs=0.1)


@pytest.mark.parametrize("budget", [None, "1/day"])
def test_a_replay_finds_what_the_pipeline_finds(cache, tmp_path, budget):
    bundle, corpus = bundles.load(), Corpus(cache)
    parts = list(places.make_stream(corpus, "val", [(find_place(corpus, "rain"), 3)], 5, 120.0))
    stream = stream_scores.score_stream(bundle, parts, tmp_path)
    assert stream_scores.score_stream(bundle, [], tmp_path).truth == stream.truth

    def judge():
        return 0.3 if budget is None else BudgetThreshold(
            set_up_budget(bundle, parse_budget(budget))
        )  # fmt: skip

    played = stream_scores.replay(bundle, stream, stream_scores.CachedScorer(bundle), judge())
    threshold = judge()
    pipeline = SourcePipeline(
        JaxEngine(bundle, block_frames=frames_per_block(bundle, stream_scores.BLOCK_S)),
        DecisionConfig(0.3), RATE, 1, keep_scores=True, scorer=create_scorer(bundle),
        budget=None if budget is None else threshold,
    )  # fmt: skip
    x = np.concatenate([part.samples for part in parts])
    found = pipeline.feed(Block(0, x[:, None])) + pipeline.finish()
    final = [d for d in found if d.phase == "final" and d.verified is not False]
    assert [a[:2] for a in played.alarms] == [(d.onset / RATE, d.offset / RATE) for d in final]
    np.testing.assert_allclose(played.scores, pipeline.scores()[1][:, 0], atol=0.02)
    if budget is not None:
        assert played.thresholds[-1] == pytest.approx(threshold.threshold, abs=0.02)
        assert len(set(played.thresholds)) > 1


def test_intervals_are_those_of_the_tables():
    assert poisson_interval(0) == (0.0, pytest.approx(3.689, abs=1e-3))
    assert poisson_interval(4) == (pytest.approx(1.090, abs=1e-3), pytest.approx(10.242, abs=1e-3))


@pytest.mark.parametrize(
    ("false_alarms", "hours", "verdict"),
    [(4, 4.0, "yes"), (8, 4.0, "yes"), (9, 4.0, "too short"), (30, 4.0, "more"),
     (0, 1.0, "too short"), (0, 24.0, "fewer")],
)  # fmt: skip
def test_a_budget_holds_within_a_factor_of_two(false_alarms, hours, verdict):
    outcome = Outcome("1/hour", 1.0 / 3600.0, (0.5, 0.5), false_alarms, hours * 3600.0, {})
    assert outcome.verdict == verdict


def test_places_are_added_up():
    one = Outcome("a", 1.0, (0.3, 0.4), 2, 100.0, {"0": (1, 2), "6": (2, 2)})
    two = Outcome("a", 1.0, (0.2, 0.3), 1, 50.0, {"6": (1, 3)})
    assert sum_outcomes([[one], [two]]) == [
        Outcome("a", 1.0, (0.2, 0.4), 3, 150.0, {"0": (1, 2), "6": (3, 5)})
    ]
    events = [(MixtureEvent(0.0, 1.0, "g", ebr), hit) for ebr, hit in ((12.0, 1), (6.0, 0))]
    assert count_found(events) == {"6": (0, 1), "12": (1, 1)}


def test_the_page_has_places_a_change_of_scene_and_field_recordings(city, tmp_path):  # noqa: F811
    lines: list[str] = []
    report = budget_page.measure_budgets(
        bundles.load(), Corpus(city), "val", tmp_path / "frames", tmp_path / "none",
        StreamLengths(1, 2, 2), names=("rain",), report=lines.append,
    )  # fmt: skip
    assert lines == ["val: rain measured", "val: rain, then a band measured"]
    (place,) = report.places
    settings = [o.setting for o in place.outcomes]
    assert settings[:2] == ["default 0.509", "fixed 0.873"]
    assert "1/day, 2 min without shots" in settings
    assert all(sum(count for _, count in o.found.values()) == 4 for o in place.outcomes)
    (scene,) = report.scenes
    first, second = (scene.count("1/hour", phase[1:]) for phase in scene.phases)
    whole = scene.count("1/hour", (0.0, scene.stream.seconds))
    assert first.false_alarms + second.false_alarms == whole.false_alarms
    assert [p.place for p in scene.phases] == ["rain", "music venue"]
    assert {tuple(o.found) for o in report.city} == {("not known",)}
    page = budget_page.write_budget_page(report, tmp_path / "page")
    text = page.read_text()
    for title in ("Do the budgets hold?", "Rain, 0.033 h", "Rain, then a band", "Field recordings"):
        assert f"## {title}" in text
    pictures = {path.name for path in page.parent.glob("*.png")}
    assert pictures == {"false-alarms.png", "rates.png", "recall.png", "scene-0.png"}
    assert all(f"({name})" in text for name in pictures)


def test_an_unknown_place_is_one_line(cache, tmp_path):
    command = [sys.executable, "-m", "train", "budgets", "--cache", cache, "--place", "moon",
               "--frames", tmp_path]  # fmt: skip
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.returncode == 2
    assert "no place moon among the val clips. Use rain, music venue, film." in done.stderr
    assert "Traceback" not in done.stderr
