"""Budgets of false alarms of live sources: the pipeline, the daemon, its state on disk."""

import json
from contextlib import closing

import httpx
import numpy as np
import pytest
from conftest import streamdet, wait_for
from daemons import free_port
from hypothesis import given, settings
from hypothesis import strategies as st
from test_daemon import config_of, create, log, metric, reload, running  # noqa: F401 - fixtures

from streamdet.audio.source import Block
from streamdet.budget import parse_budget
from streamdet.config.layers import ConfigError
from streamdet.daemon.backgrounds import BackgroundFiles, read_records
from streamdet.detection.adaptive_threshold import ThresholdConfig
from streamdet.detection.background import BackgroundConfig, logit, sigmoid
from streamdet.detection.background_format import read_prior, read_shots
from streamdet.detection.decision import DecisionConfig
from streamdet.detection.engine import BlockStream
from streamdet.detection.event import ModelId
from streamdet.detection.false_alarm_rate import DAY_S, RateCurve, expected_per_day
from streamdet.detection.frames import FrameGrid, ScoredFrames
from streamdet.model import bundle as bundles
from streamdet.model.config import VerifierConfig
from streamdet.pipeline.budget_threshold import BudgetSetup, BudgetThreshold, set_up_budget
from streamdet.pipeline.source_pipeline import SourcePipeline
from streamdet.store.store import EventStore
from streamdet.store.verdict import Verdict
from streamdet.web.server import open_page

GRID = FrameGrid(1_000, 10, 4, ("gunshot",))
SETUP = BudgetSetup(
    ThresholdConfig(4.0 / DAY_S, BackgroundConfig(0.04, skip_s=60.0), interval_s=20.0),
    read_prior({}, 0.5),
    "model",
    read_shots({}),
)


class SampleStream(BlockStream):
    """A stream whose scores are the samples at the start of each frame."""

    def _run(self, block):
        scores = block[0, :: GRID.frame, None].copy()
        zeros = np.zeros(len(scores), np.float32)
        log_mel = np.broadcast_to(scores[:, :, None], (len(scores), 2, 64))
        return [ScoredFrames(scores, np.zeros((len(scores), 4), np.float32), zeros, log_mel)]

    def _drain(self):
        return []


class SampleEngine:
    shared, grid, model = False, GRID, ModelId("samples", "1", "")

    def warm_up(self):
        pass

    def stream(self):
        return SampleStream(GRID, 2 * GRID.frame)


def audio(seconds, seed=0, start=-4.0, per_second=0.2):
    """(n, 1) samples that are scores: events with exponential excesses over a logit."""
    rng = np.random.default_rng(seed)
    x = np.full(seconds * 25, -8.0)
    for at in np.flatnonzero(rng.random(seconds) < per_second) * 25:
        x[at : at + 5] = start + rng.exponential(1.0)
    p = np.array([sigmoid(v) for v in x], np.float32)
    return np.repeat(p, GRID.frame)[:, None]


class SampleVerifier:
    """A verifier that halves the first stage's probability of every other window."""

    config, threshold = VerifierConfig(conv=((4, 5, 5, 2, 4),), before=10, core=4, after=5), 0.2

    silence = 0.0

    def score_windows(self, log_mel, starts):
        windows = np.stack([log_mel[at : at + self.config.window, 0, 0] for at in starts])
        odd = np.round(1_000 * windows.max(axis=1)) % 2 == 1
        cores = windows[:, self.config.before :][:, : self.config.core]
        return np.where(odd[:, None], cores, cores / 2.0)


def run(samples, sizes, setup=SETUP, scorer=None):
    budget = BudgetThreshold(setup)
    pipeline = SourcePipeline(
        SampleEngine(), DecisionConfig(0.99), GRID.rate, 1, budget=budget, scorer=scorer
    )
    found, at, turn = [], 0, 0
    while at < len(samples):
        size = sizes[turn % len(sizes)]
        found += pipeline.feed(Block(at, samples[at : at + size]))
        at, turn = at + size, turn + 1
    return found + pipeline.finish(), budget


@pytest.mark.parametrize("scorer", [None, SampleVerifier()])
@given(sizes=st.lists(st.integers(500, 100_000), min_size=1, max_size=5))
@settings(max_examples=5, deadline=None)
def test_any_chunking_gives_the_same_events_and_thresholds(scorer, sizes):
    samples = audio(240, start=-1.0)
    whole, one = run(samples, [len(samples)], scorer=scorer)
    chunked, other = run(samples, sizes, scorer=scorer)
    assert len({d.threshold for d in whole if d.verified is not None or scorer is None}) > 1
    assert [(d.phase, d.onset, d.threshold) for d in whole] == [
        (d.phase, d.onset, d.threshold) for d in chunked
    ]
    assert one.threshold == other.threshold
    np.testing.assert_array_equal(one.state.background.starts, other.state.background.starts)


def test_events_carry_the_threshold_in_force_and_are_remembered():
    samples = audio(800, start=-0.5)
    found, budget = run(samples, [4_000])
    thresholds = {d.threshold for d in found}
    assert len(thresholds) > 1
    assert all(d.score >= d.threshold for d in found if d.phase == "final")
    reports = budget.state.background.reports
    assert [r.onset for r in reports] == [d.onset for d in found if d.phase == "final"]
    budget.identify(reports[0].onset, "id")
    budget.review({"id": False})
    assert budget.state.background.reports[0][3:] == ("id", False)


def test_with_a_verifier_only_verified_events_are_remembered_and_none_changes_its_threshold():
    found, budget = run(audio(800, start=-0.5), [4_000], scorer=SampleVerifier())
    onsets = {d.first_onset: d for d in found if d.phase == "onset" and d.verified}
    finals = [d for d in found if d.phase == "final" and d.verified]
    assert len({d.threshold for d in finals}) > 1
    assert all(onsets[d.first_onset].threshold == d.threshold <= d.score for d in finals)
    assert [r.onset for r in budget.state.background.reports] == [d.onset for d in finals]
    assert any(d.verified is False for d in found)
    candidates = [d.threshold for d in found if d.verified is None]
    assert max(candidates) == SampleVerifier.threshold


def test_candidates_without_a_pause_do_not_hold_the_threshold():
    samples = np.maximum(audio(600, start=1.0), np.float32(0.25))
    found, _ = run(samples, [4_000], scorer=SampleVerifier())
    onsets = {d.first_onset: d for d in found if d.phase == "onset" and d.verified}
    finals = [d for d in found if d.phase == "final" and d.verified]
    assert len({d.threshold for d in finals}) > 1
    assert all(onsets[d.first_onset].threshold == d.threshold for d in finals)


def test_a_threshold_survives_its_record_and_takes_another_budget():
    _, budget = run(audio(400), [4_000])
    budget.change_budget(SETUP)  # estimates now
    again = BudgetThreshold(SETUP, json.loads(json.dumps(budget.record())))
    assert float(logit(again.threshold)) == pytest.approx(float(logit(budget.threshold)), abs=0.01)
    config = SETUP.config
    stricter = ThresholdConfig(config.budget / 10.0, config.background)
    again.change_budget(SETUP._replace(config=stricter))
    assert again.threshold > budget.threshold
    assert again.background_s == pytest.approx(budget.background_s)


def test_scores_are_counted_the_same_frame_by_frame():
    scores = audio(200)[:: GRID.frame, 0]
    states = []
    for size in (1, 7, len(scores)):
        budget = BudgetThreshold(SETUP)
        for at in range(0, len(scores), size):
            budget.add(GRID, scores[at : at + size], [], event_open=True)
        budget.finish()
        states.append(budget.state.background)
    for state in states[1:]:
        assert np.array_equal(state.starts, states[0].starts)
        assert np.array_equal(state.exposure, states[0].exposure)


def test_backgrounds_are_kept_in_files(tmp_path):
    problems = []
    files = BackgroundFiles(tmp_path / "new", lambda *problem: problems.append(problem))
    setup = set_up_budget(bundles.load(), 1.0 / DAY_S)
    assert files.load("The Gate", setup).state.background.second == 0
    budget = BudgetThreshold(setup)
    frame_s = setup.config.background.frame_s
    budget.add(GRID, np.full(round(200 / frame_s), 0.01), [], event_open=False)
    files.save([("The Gate", budget)])
    files.close()
    assert files.load("The Gate", setup).state.background.second == 140
    assert files.load("the gate", setup).state.background.second == 0
    (record,) = read_records(tmp_path / "new")
    assert (record["source"], round(record["budget_per_day"], 6)) == ("The Gate", 1.0)
    assert not problems
    assert files.load("The Gate", setup._replace(model="x")).state.background.second == 0
    assert "another model" in problems[0][1]
    for damaged in ("{", "[]", "\ud800".encode("utf-8", "surrogatepass")):
        data = damaged if isinstance(damaged, bytes) else damaged.encode()
        files.path("The Gate").write_bytes(data)
        assert files.load("The Gate", setup).state.background.second == 0
    assert len(problems) == 4
    assert read_records(tmp_path / "new") == []


def test_a_daemon_adapts_exports_and_keeps_its_thresholds(create, wav, tmp_path):  # noqa: F811
    tables = {"false_alarms": "1/day", "background": {"folder": str(tmp_path / "state")}}
    daemon = create(**tables)
    with running(daemon):
        wait_for(lambda: daemon.components.sources[0].counts.analysed_s > 3, 40)
        threshold = metric(daemon, "threshold", source="trial")
        assert threshold == pytest.approx(daemon.components.sources[0].threshold)
        assert (metric(daemon, "expected_false_alarms_per_day", source="trial") or 0.0) > 0.0
        stricter = config_of(wav, **{**tables, "false_alarms": "1/week"})
        reload(daemon, stricter)
        assert daemon.components.sources[0].threshold > threshold
        reload(daemon, config_of(wav, **{**tables, "false_alarms": None, "threshold": 0.4}))
        assert daemon.components.sources[0].threshold == 0.4
        assert daemon.components.sources[0].budget.background_s > 0.0  # it is still observed
        reload(daemon, config_of(wav, **tables))
    (record,) = read_records(tmp_path / "state")
    assert record["second"] >= 2
    again = create(**tables)
    assert again.components.sources[0].budget.state.background.second == record["second"]
    again.components.close_unstarted()


def test_reviews_reach_the_background_of_a_running_daemon(create, rapid, tmp_path):  # noqa: F811
    port, path = free_port(), tmp_path / "events.db"
    tables = {
        "false_alarms": "1/h",
        "background": {"folder": str(tmp_path / "state")},
        "store": {"path": str(path)},
        "sources": [{"name": "trial", "file": str(rapid), "loop": True}],
    }

    def verdicts(daemon):
        budget = daemon.components.sources[0].budget
        return {r.key: r.verdict for r in budget.state.background.reports if r.key}

    daemon = create(page=open_page, web={"address": f"127.0.0.1:{port}"}, **tables)
    with running(daemon):
        wait_for(lambda: len(verdicts(daemon)) >= 3, 60)
        page, command, store = list(verdicts(daemon))[:3]
        url = f"http://127.0.0.1:{port}/api/events/{page}/verdict"
        httpx.post(url, json={"verdict": "true"}, headers={"X-Streamdet": "1"}).raise_for_status()
        streamdet("review", "--store", path, "--event", command, "--verdict", "false")
        with closing(EventStore(path)) as events:
            events.review(store, Verdict("false"))
        given = {page: True, command: False, store: False}
        wait_for(lambda: given.items() <= verdicts(daemon).items(), 20)
    with closing(EventStore(path)) as events:  # while no daemon runs
        events.review(page, Verdict("unsure"))
        events.review(store, Verdict("true"))
    daemon = create(**tables)
    assert given.items() <= verdicts(daemon).items()
    with running(daemon):
        given |= {page: None, store: True}
        wait_for(lambda: given.items() <= verdicts(daemon).items(), 20)


@pytest.mark.parametrize("verify", [True, False])
def test_a_new_source_has_the_false_alarms_of_the_bundles_background(bundle, verify):
    known = read_prior(bundle.card, 0.5, first_stage=not verify)
    for budget in ("20/h", "1/h", "1/day", "1/week"):
        setup = set_up_budget(bundle, parse_budget(budget), verify=verify)
        threshold = BudgetThreshold(setup).threshold
        rate = expected_per_day(RateCurve(known.rates + 1e-12, None), threshold)
        assert 0.6 <= rate / (parse_budget(budget) * DAY_S) <= 1.6


def test_a_budget_and_a_threshold_are_an_error(wav):
    for keys in ({"threshold": 0.5}, {"operating_point": "strict"}):
        with pytest.raises(ConfigError, match="false_alarms, not both"):
            config_of(wav, false_alarms="1/day", **keys)
    with pytest.raises(ConfigError, match="is not a budget of false alarms"):
        config_of(wav, false_alarms="daily")
