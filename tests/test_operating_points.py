"""Operating points of a detector: ambience, the background of a card, budgets, the command."""

import json
import math
import shutil
from dataclasses import replace

import numpy as np
import pytest
from conftest import ROOT, train
from hypothesis import given
from hypothesis import strategies as st

from streamdet.budget import parse_budget
from streamdet.detection import background, background_format, false_alarm_rate
from streamdet.detection.background import BackgroundConfig, logit
from streamdet.detection.false_alarm_rate import DAY_S
from streamdet.detection.frames import ScoredFrames
from streamdet.model import bundle as bundles
from streamdet.synth import muzzle_blast
from train.data import ambience, mixtures
from train.data.ambience import AmbientStream
from train.data.corpus import Corpus, CorpusError
from train.data.labels import LABELS
from train.detector import ambient_rates, operating_points
from train.errors import TrainError
from train.evaluation import scene_metrics, scored_sets

CONFIG = BackgroundConfig(0.04, half_life_s=math.inf)


def ambient_state(hours, per_hour, scale, seed=0):
    """A background with exponential excesses over logit -4, ``per_hour`` in number."""
    rates = np.minimum(np.exp(-(background.levels() + 4.0) / scale) * per_hour, per_hour)
    peaks = np.random.default_rng(seed).poisson(-np.diff(rates, append=0.0) * hours)
    starts = np.cumsum(peaks[::-1])[::-1].astype(float)
    return background.init(CONFIG)._replace(starts=starts, seconds=hours * 3_600.0)


def test_ambience_has_every_kind_at_every_level_and_no_shot(cache):
    corpus = Corpus(cache)
    streams = list(ambience.make_ambience(corpus, "val"))
    kinds = [stream.kind for stream in streams]
    per_kind = len(ambience.LEVELS_DB)
    assert {k: kinds.count(k) for k in kinds} == dict.fromkeys(
        ("quiet", "ambience", "speech", "music", "impulsive"), per_kind
    )
    clips = ambience.select_ambience(corpus, "val")
    assert all(c.category not in ("gunshot", "explosion") for of in clips.values() for c in of)
    seconds = len(streams[kinds.index("impulsive")].samples) / 16_000
    assert seconds == len(clips["impulsive"]) * ambience.SPACING_S
    for a, b in zip(streams, ambience.make_ambience(corpus, "val"), strict=True):
        np.testing.assert_array_equal(a.samples, b.samples)
        assert np.abs(a.samples).max() <= 1.0
    assert sum(ambience.SHARES.values()) == pytest.approx(1.0)


def test_joined_clips_keep_their_level_without_gaps(cache):
    streams = [s for s in ambience.make_ambience(Corpus(cache), "val") if s.kind == "ambience"]
    for stream, level_db in zip(streams, ambience.LEVELS_DB, strict=True):
        rms_db = 10 * np.log10(np.mean(stream.samples.reshape(-1, 800) ** 2, axis=1))
        assert np.median(rms_db) == pytest.approx(level_db, abs=1.0)
        assert rms_db[20:-20].min() > level_db - 6.0


def test_a_split_without_ambience_is_an_error(cache):
    with pytest.raises(CorpusError, match="no ambience among the nights clips"):
        next(ambience.make_ambience(Corpus(cache), "nights"))


def test_the_background_counts_the_events_of_each_kind_and_stage():
    rng = np.random.default_rng(0)
    noise = (0.003 * rng.standard_normal(30 * 16_000)).astype(np.float32)
    shots = noise.copy()
    for at in (8, 16, 24):
        blast = muzzle_blast(rng)
        shots[at * 16_000 : at * 16_000 + len(blast)] += 0.5 * blast
    streams = [AmbientStream("quiet", noise), AmbientStream("impulsive", shots)]
    known = ambient_rates.measure_backgrounds(bundles.load(), [*streams, streams[1]])
    level = round((float(logit(0.5)) - background.LOWEST) / background.STEP)
    for kinds in known:
        assert kinds["quiet"].starts[level] == 0
        assert kinds["impulsive"].starts[level] == 6
        assert kinds["impulsive"].seconds == pytest.approx(60.0, abs=2.0)
    record = json.loads(json.dumps(ambient_rates.describe_background(known.final, "val")))
    assert record["ambience"]["quiet"] == {"share": 0.9615, "hours": 0.008, "events": 0}
    rates = background_format.read_prior({"background": record}, 0.5).rates
    assert rates[level] == pytest.approx(0.0385 * 6 / 60, rel=0.05)


@given(
    rows=st.lists(
        st.tuples(st.floats(0.1, 5.0), st.floats(0.0, 100.0), st.floats(0.5, 2.0)),
        min_size=1,
        max_size=len(ambience.SHARES),
    ),
    seed=st.integers(0, 99),
)
def test_mixed_rates_never_rise_and_are_the_counted_ones_below_the_tail(rows, seed):
    names = list(ambience.SHARES)[: len(rows)]
    kinds = {
        name: ambient_state(hours, per_hour, scale, seed)
        for name, (hours, per_hour, scale) in zip(names, rows, strict=True)
    }
    rates = ambient_rates.mix_rates(kinds)
    assert (np.diff(rates) <= 1e-15).all()
    assert (rates >= 0.0).all()
    total = sum(ambience.SHARES[n] for n in names)
    shares = {n: ambience.SHARES[n] / total for n in names}
    counted = np.sum([shares[n] * s.starts / s.seconds for n, s in kinds.items()], axis=0)
    below = background.levels() < 0.0
    np.testing.assert_allclose(rates[below], counted[below], atol=1e-15)


def test_a_kind_with_few_events_has_the_tail_of_all():
    """Ordinary ambience reaches 0.5 rarely; many impulsive sounds show how the scores end."""
    kinds = {"ambience": ambient_state(2.0, 300.0, 1.0), "impulsive": ambient_state(200, 900, 1.0)}
    rates = ambient_rates.mix_rates(kinds)
    shares = {k: v / 0.27 for k, v in ambience.SHARES.items() if k in kinds}
    true_h = (shares["ambience"] * 300 + shares["impulsive"] * 900) * np.exp(-11.0)
    level = round((7.0 - background.LOWEST) / background.STEP)
    assert 0.6 < rates[level] * 3_600 / true_h < 1.6
    with pytest.raises(TrainError, match="no second of ambience"):
        ambient_rates.mix_rates({})


def make_file(name, scores, events=()):
    scores = np.asarray(scores, np.float32)[:, None].repeat(len(LABELS), axis=1)
    frames = ScoredFrames(scores, np.zeros((len(scores), 4), np.float32), scores[:, 0])
    return scored_sets.ScoredFile(name, ROOT, frames, tuple(events), ())


def test_points_are_budgets_in_ambience_and_the_best_f1_on_rare_scenes():
    grid = scene_metrics.make_frame_grid(bundles.load())
    event = scored_sets.TrueEvent((8.0, 8.5), "g", "6", None)
    rare = np.zeros(750)
    rare[200], rare[500] = 0.6, 0.3
    city = replace(event, ebr_db="327")
    files = [make_file("rare/0", rare, [event]), make_file("city/0", rare, [city])]
    card = {"background": ambient_rates.describe_background(
        {"ambience": ambient_state(20.0, 60.0, 1.0)}, "val")}  # fmt: skip
    curve = ambient_rates.read_curve(card)
    chosen = operating_points.choose_thresholds(grid, files, curve)
    assert list(chosen) == ["sensitive", "balanced", "strict", "default"]
    assert 0.3 < chosen["default"] <= 0.6
    assert chosen["sensitive"] < chosen["balanced"] < chosen["strict"] <= 0.9999
    for name, budget in operating_points.BUDGETS.items():
        expected = false_alarm_rate.expected_per_day(curve, chosen[name])
        assert expected == pytest.approx(parse_budget(budget) * DAY_S, rel=0.15)
    figures = operating_points.measure_point(
        grid, files, files[:1], curve, "default", chosen["default"]
    )
    assert "budget" not in figures
    assert figures["val_rare"]["f1"] == 1.0
    assert figures["val_found_by_ebr"] == {"6 dB": "1/1"}
    assert figures["val_city_found_by_distance"] == {"300 to 400 m": "1/1"}
    strict = operating_points.measure_point(grid, files, files[:1], curve, "strict", 0.99)
    assert strict["budget"] == "1/week"
    assert strict["val_found_by_ebr"] == {"6 dB": "0/1"}
    with pytest.raises(TrainError, match="none in rare/, which"):
        operating_points.choose_thresholds(grid, files[1:], curve)


def test_the_points_of_an_existing_bundle_are_chosen_again(cache, tmp_path, small_validation):
    from train.cli.points import points

    shutil.copytree(bundles.bundle_folder(None), tmp_path / "own")
    before = bundles.load(tmp_path / "own")
    rare = mixtures.make_rare_mixtures(Corpus(cache), "val", 1, 4, (6.0,))
    mixtures.write_mixtures(rare, tmp_path / "val")
    points(tmp_path / "own", val=tmp_path / "val", cache=cache)
    after = bundles.load(tmp_path / "own")
    assert after.sha256 == before.sha256
    assert after.default_point == "default"
    assert set(after.operating_points) == {*operating_points.BUDGETS, "default"}
    assert all(p.stage_threshold is not None for p in after.operating_points.values())
    assert after.card["data"] == before.card["data"]
    assert set(after.card["background"]["ambience"]) >= {"quiet", "ambience", "impulsive"}
    assert len(after.card["stage_background"]["starts"]) == background.COUNT
    assert sorted(p.name for p in tmp_path.iterdir()) == ["own", "val"]


def test_the_shipped_points_follow_from_the_background_of_the_card():
    bundle = bundles.load()
    for first_stage in (False, True):
        curve = ambient_rates.read_curve(bundle.card, first_stage=first_stage)
        for name, budget in operating_points.BUDGETS.items():
            point = bundle.operating_points[name]
            threshold = point.stage_threshold if first_stage else point.threshold
            wanted = false_alarm_rate.threshold_for(curve, parse_budget(budget))
            assert threshold == pytest.approx(min(wanted, 0.9999), abs=6e-5)


def test_points_of_a_missing_bundle_are_one_line():
    done = train("points", "nowhere")
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "card.json" in done.stderr
