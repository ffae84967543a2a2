"""The training system on a corpus made here: labels, scenes, a few steps, a bundle."""

import csv
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest
import soundfile
from conftest import ROOT, need_shared

from streamdet.model import bundle as bundles
from streamdet.model.lstm import ModelConfig
from streamdet.synth import muzzle_blast
from train import config as configs
from train import evaluate, export, loop, metrics
from train.config import ConfigError, TrainConfig
from train.data import effects, labels, mixtures, shots
from train.data.corpus import Corpus, CorpusError, prepare
from train.data.loader import Batches
from train.data.mixing import MixConfig, Mixer
from train.data.table import read_rows

MIX = MixConfig(scene_s=2.0, no_shot=0.2)
FIELDS = ("path", "split", "category", "label", "kind", "source", "origin_group", "licence",
          "duration_s", "native_rate", "native_channels")  # fmt: skip


def noise(rng, seconds, level=0.05):
    return (level * rng.standard_normal(round(seconds * 16_000))).astype("f")


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """A data folder in the manifest's format: every category, train and val."""
    folder, rng = tmp_path_factory.mktemp("data"), np.random.default_rng(0)
    makers = {
        ("gunshot", "gunshot"): lambda: muzzle_blast(rng),
        ("hard_negative", "door_knock"): lambda: noise(rng, 0.3) * np.geomspace(1, 1e-3, 4_800),
        ("hard_negative", "fireworks"): lambda: noise(rng, 0.5) * np.geomspace(1, 1e-2, 8_000),
        ("hard_negative", "drum_hit"): lambda: noise(rng, 0.2),
        ("hard_negative", "thunder"): lambda: noise(rng, 1.0),
        ("hard_negative", "stapler"): lambda: noise(rng, 0.1),
        ("explosion", "explosion"): lambda: noise(rng, 0.6),
        ("ambient", "rain"): lambda: noise(rng, 5.0),
        ("speech", "speech"): lambda: noise(rng, 1.0),
        ("music", "music"): lambda: noise(rng, 4.0),
    }
    (folder / "audio").mkdir()
    with (folder / "manifest.csv").open("w", newline="") as sink:
        rows = csv.writer(sink)
        rows.writerow(FIELDS)
        for split in ("train", "val", "test"):
            for (category, label), make in makers.items():
                for i in range(2):
                    name = f"audio/{split}-{label}-{i}.flac"
                    samples = make().astype("f")
                    soundfile.write(folder / name, samples, 16_000)
                    group = f"{split}-{label}-{i}"
                    rows.writerow([name, split, category, label, "range", "made", group, "CC0",
                                   len(samples) / 16_000, 16_000, 1])  # fmt: skip
    return folder


@pytest.fixture(scope="module")
def cache(data, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("cache")
    assert prepare(data, folder) == 40
    return folder


def test_test_clips_are_never_in_reach_unless_asked_for(cache):
    assert {c.split for c in Corpus(cache).clips} == {"train", "val"}


def test_the_corpus_gives_back_the_files_samples(data, cache):
    clip = Corpus(cache).select("train", "gunshot")[0]
    there = soundfile.read(data / clip.path, dtype="float32")[0]
    np.testing.assert_allclose(Corpus(cache).samples(clip), there, atol=2 / 32768)


def test_a_corpus_that_is_not_there_is_named(tmp_path):
    with pytest.raises(CorpusError, match="prepare"):
        Corpus(tmp_path)
    with pytest.raises(CorpusError, match=r"manifest\.csv"):
        prepare(tmp_path, tmp_path / "cache")


def test_every_manifest_label_has_a_head():
    assert labels.head_for("hard_negative", "door_slam") == "impact"
    assert labels.head_for("hard_negative", "party_popper") == "fireworks"
    assert labels.head_for("hard_negative", "stapler") == "impulsive"
    assert labels.head_for("ambient", "rain") == "ambience"
    with pytest.raises(ValueError, match="mystery"):
        labels.head_for("mystery", "x")
    shared = need_shared()
    rows = read_rows(shared / "data" / "manifest.csv")
    heads = {labels.head_for(r["category"], r["label"]) for r in rows if r["category"] != "mixture"}
    assert heads == set(labels.LABELS)


def test_shots_are_found_where_they_are():
    rng = np.random.default_rng(3)
    x = noise(rng, 3.0, 1e-3)
    for at in (0.5, 0.8, 2.0):
        blast = muzzle_blast(rng, 0.25)
        x[round(at * 16_000) :][: len(blast)] += blast
    found = shots.find_shots(x)
    assert (found.onsets / 100).tolist() == pytest.approx([0.5, 0.8, 2.0], abs=0.02)
    onset, offset = shots.find_event(x)
    assert onset / 16_000 == pytest.approx(0.5, abs=0.02)
    assert 2.0 < offset / 16_000 < 2.3


def test_a_scene_is_a_function_of_its_seed(cache):
    mixer = Mixer(Corpus(cache), MIX)
    one, two, other = (mixer.scene(np.random.default_rng(s)) for s in (7, 7, 8))
    for a, b in zip(one, two, strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(one.samples, other.samples)


def test_scenes_are_sound_and_their_targets_fit_them(cache):
    mixer = Mixer(Corpus(cache), MIX)
    scenes = [mixer.scene(np.random.default_rng(i)) for i in range(40)]
    for scene in scenes:
        assert scene.samples.shape == (32_000,)
        assert scene.samples.dtype == np.float32
        assert np.abs(scene.samples).max() <= 1.0
        assert scene.targets.shape == scene.weights.shape == (50, len(labels.LABELS))
        assert set(np.unique(scene.targets)) <= {0.0, 1.0}
        assert (scene.weights[scene.targets == 1.0] > 0).all()
    heard = np.mean([s.targets.max(axis=0) for s in scenes], axis=0)
    assert (heard > 0).all()


def test_a_scene_without_shots_has_no_gunshot_target(cache):
    mixer = Mixer(Corpus(cache), replace(MIX, no_shot=1.0))
    for i in range(20):
        scene = mixer.scene(np.random.default_rng(i))
        assert not scene.targets[:, labels.GUNSHOT].any()


def test_gunshot_targets_begin_where_the_shot_is_heard(cache):
    mixer = Mixer(
        Corpus(cache),
        replace(MIX, no_shot=0.0, max_shots=1, no_negative=1.0, burst=0.0, quiet_bed=1.0),
    )
    close = 0
    for i in range(30):
        scene = mixer.scene(np.random.default_rng(i))
        frames = np.flatnonzero(scene.targets[:, labels.GUNSHOT])
        if len(frames):
            flux = shots.spectral_flux_db(scene.samples)
            close += abs(frames[0] * 4 - int(np.argmax(flux[5:])) - 5) <= 6
    assert close >= 20


@pytest.mark.parametrize("make", [effects.room_response, effects.outdoor_response])
def test_an_impulse_response_begins_with_the_direct_sound(make):
    for seed in range(10):
        response = make(np.random.default_rng(seed))
        assert int(np.argmax(np.abs(response))) == 0


def test_effects_do_what_they_say():
    rng = np.random.default_rng(1)
    x = noise(rng, 1.0)
    power = lambda y, lo, hi: (np.abs(np.fft.rfft(y))[lo:hi] ** 2).sum()  # noqa: E731
    low = effects.through(x, None, [lambda f: effects.low_pass_response(f, 2_000.0)])
    assert power(low, 3_000, 8_000) < 1e-3 * power(x, 3_000, 8_000)
    high = effects.through(x, None, [lambda f: effects.high_pass_response(f, 1_000.0)])
    assert power(high, 1, 200) < 1e-2 * power(x, 1, 200)
    assert len(effects.varispeed(x, 2.0)) == len(x) // 2
    assert np.abs(effects.soft_limit(x, 12.0)).max() == pytest.approx(np.abs(x).max(), rel=1e-3)
    assert np.sqrt(np.mean(effects.coloured_noise(16_000, rng) ** 2)) == pytest.approx(1.0)


SMALL = TrainConfig(
    name="tiny", version="0", mix=MIX, batch=4, steps=6, warmup=2, checkpoint_every=3,
    validate_every=6,
    model=ModelConfig(conv=((8, 5, 2), (8, 5, 2)), cells=(8, 8), labels=labels.LABELS),
)  # fmt: skip


def test_batches_do_not_depend_on_where_one_begins(cache):
    batches = Batches(cache, MIX, seed=3, rows=2)
    late = next(batches.from_step(4, 6, workers=0))
    np.testing.assert_array_equal(late.samples, batches(4).samples)


def test_a_run_learns_resumes_exactly_and_becomes_a_bundle(cache, tmp_path):
    whole = loop.fit(SMALL, cache, tmp_path / "whole", workers=0)
    loop.fit(replace(SMALL, steps=3, warmup=2), cache, tmp_path / "short", workers=0)
    assert int(whole.step) == 6
    first = json.loads((tmp_path / "whole" / "log.jsonl").read_text().splitlines()[-1])
    assert first["step"] == 6
    assert {"error_rate", "f1", "onset_f1"} <= set(first)

    (tmp_path / "cut" / "checkpoints").mkdir(parents=True)
    halfway = tmp_path / "whole" / "checkpoints" / "3"
    halfway.rename(tmp_path / "cut" / "checkpoints" / "3")
    resumed = loop.fit(SMALL, cache, tmp_path / "cut", workers=0)
    for a, b in zip(jax.tree.leaves(whole.params), jax.tree.leaves(resumed.params), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)

    corpus = Corpus(cache)
    scenes = mixtures.rare(corpus, "val", 1, 4, (6.0,)) + mixtures.film(corpus, "val", 1, 1)
    mixtures.write(scenes, tmp_path / "val")
    made = export.export(
        SMALL, "tiny", corpus, tmp_path / "whole", tmp_path / "val", tmp_path / "bundle"
    )
    assert set(made.operating_points) == {"sensitive", "balanced", "strict"}
    began_at = (tmp_path / "whole" / "commit.txt").read_text().strip()
    assert made.card["commit"] == began_at != ""
    assert made.card["data"][0] == {"source": "made", "licence": "CC0", "clips": 20}
    figures = evaluate.report(made, evaluate.hear(made, tmp_path / "val"))
    assert figures["rare"]["events"] == 2
    assert figures["film"]["events"] == 10
    assert "| film" in evaluate.as_markdown(figures)


def test_mixtures_keep_their_event_to_background_ratio(cache):
    corpus = Corpus(cache)
    for mixture in mixtures.rare(corpus, "val", 5, 6, (0.0,)):
        if not mixture.truth:
            continue
        (event,) = mixture.truth
        a, b = round(event.onset_s * 16_000), round(event.offset_s * 16_000)
        rest = np.concatenate([mixture.samples[:a], mixture.samples[b + 8_000 :]])
        ratio = np.mean(mixture.samples[a:b] ** 2) / np.mean(rest**2)
        assert 10 * np.log10(ratio) == pytest.approx(3.0, abs=1.5)


def test_an_unknown_config_or_set_is_named(tmp_path):
    assert "first" in configs.names()
    with pytest.raises(ConfigError, match="nope"):
        configs.load("nope")
    with pytest.raises(evaluate.SetError, match=r"truth\.csv"):
        evaluate.hear(bundles.load(), tmp_path)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["prepare", "--data", "nowhere"], "manifest.csv"),
        (["fit", "nope"], "no config 'nope'"),
        (["mixtures", "x", "--cache", "nowhere"], "prepare"),
        (["evaluate", "--set", "nowhere"], "truth.csv"),
        (["evaluate", "--bundle", "nowhere"], "card.json"),
    ],
)
def test_bad_input_to_a_training_command_is_one_line_and_code_2(arguments, says):
    command = [sys.executable, "-m", "train", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 2
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_the_matcher_follows_the_benchmarks_rules():
    hop = 0.1
    scores = np.zeros(100)
    scores[[20, 25, 60]] = [0.9, 0.8, 0.7]
    assert metrics.alarms(scores, hop, 0.5) == [
        pytest.approx((2.0, 2.6, 0.9)),
        pytest.approx((6.0, 6.1, 0.7)),
    ]
    hits, false = metrics.match(metrics.alarms(scores, hop, 0.5), [(2.9, 3.0), (8.0, 8.5)])
    assert (hits, false) == ([True, False], 1)
    counts = metrics.Counts(0.5, hits=6, misses=2, false_alarms=2)
    assert (counts.error_rate, counts.f1, counts.recall) == (0.5, 0.75, 0.75)
    assert metrics.onset_match([(2.0, 2.6, 0.9), (6.0, 6.1, 0.7)], [(2.4, 3.0)]) == ([True], 0)
    assert metrics.onset_match([(2.0, 2.6, 0.9)], [(2.6, 3.0)]) == ([False], 1)
