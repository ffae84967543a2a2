"""Stored scenes, heads on the taggers' features, and students that learn from them."""

import json
from dataclasses import replace

import numpy as np
import pytest
from test_train import SMALL as DETECTOR
from test_verification import SMALL as VERIFIER

from streamdet.model.config import ModelConfig
from train.data import mixtures
from train.data.config import MixConfig
from train.data.corpus import Corpus
from train.data.labels import GUNSHOT, LABELS
from train.data.mixing import Mixer
from train.data.scene_store import CLASSES, SHARD, SceneStore, write_scenes
from train.data.stored_batches import StoredBatches
from train.detector import export
from train.detector import loop as detector_loop
from train.distillation import head_training, teaching
from train.distillation.config import TeacherHeadConfig
from train.distillation.head_network import GROUPS, FeatureBatch
from train.distillation.recordings import (
    AnsweredRecording,
    cut_windows,
    join_cores,
    load_answers,
    save_answers,
)
from train.errors import TrainError
from train.verifier import export as verifier_export
from train.verifier import validation as verifier_validation
from train.verifier.config import VerifierTrainingConfig
from train.verifier.loop import fit_verifier

MIX = MixConfig(scene_s=4.0, digital_silence=0.2, two_microphones=0.2)
TICKS, STEPS = 50, 13
DIMS = {"fast": 768, "medium": 1408, "slow": 2816}
HEAD = TeacherHeadConfig(
    name="head", version="1", scenes="set", batch=8, steps=6, dense=8, cells=4, warmup=1,
    validate_every=3, checkpoint_every=3, feature_noise=0.1,
)  # fmt: skip


@pytest.fixture(scope="module")
def store(cache, tmp_path_factory):
    folder = tmp_path_factory.mktemp("scenes") / "set"
    assert list(write_scenes(cache, MIX, 3, folder, SHARD)) == [SHARD]
    return SceneStore(folder)


@pytest.fixture(scope="module")
def answered(store):
    """The scenes with features that tell where the shots are."""
    rng = np.random.default_rng(0)
    targets = store.open_array(0, "targets")[:, ::2, GUNSHOT].astype(np.float32)
    for group, repeat in zip(GROUPS, (1, 2, 4), strict=True):
        rows = rng.normal(size=(SHARD, -(-TICKS // repeat), DIMS[group]))
        rows[..., :40] += 4.0 * targets[:, ::repeat][:, : rows.shape[1], None]
        store.write_array(0, group, rows.astype(np.float16))
    for tagger, classes in (("yamnet", 521), ("mn04", 527)):
        answers = rng.integers(0, 255, (SHARD, STEPS, classes))
        store.write_array(0, tagger, answers.astype(np.uint8))
    chosen = {"yamnet": {"Gunshot, gunfire": 421, "Speech": 0}, "mn04": {"Drum": 3}}
    (store.folder / CLASSES).write_text(json.dumps(chosen))
    return store


@pytest.fixture(scope="module")
def val():
    rng = np.random.default_rng(1)
    features = FeatureBatch(
        *(rng.normal(size=(2, n, DIMS[g])) for g, n in zip(GROUPS, (75, 38, 19), strict=True))
    )
    taggers = {"yamnet": np.zeros((2, 19), np.float16)}
    return [AnsweredRecording("rare/0", 9.0, ((1.0, 2.0),), features, taggers)]


@pytest.fixture(scope="module")
def taught(answered, val, tmp_path_factory):
    state = head_training.fit_head(HEAD, answered.folder.parent, val, tmp_path_factory.mktemp("h"))
    head = teaching.Head(HEAD, state.average, state.scale)
    teaching.fit_projection(answered, state.scale)
    projection = answered.folder / teaching.PROJECTION
    assert list(teaching.teach_scenes(answered, projection, [head])) == [0]
    return answered


def test_stored_scenes_are_those_of_the_mixer(cache, store):
    scene = Mixer(Corpus(cache), MIX).make_scene(np.random.default_rng([3, 5]))
    np.testing.assert_allclose(store.read_samples(5), scene.samples, atol=1 / 32768)
    np.testing.assert_array_equal(store.read("targets", 5), scene.targets)
    np.testing.assert_array_equal(store.read("weights", 5), scene.weights)


def test_a_set_continues_and_refuses_another_mix(cache, store):
    assert list(write_scenes(cache, MIX, 3, store.folder, SHARD)) == []
    with pytest.raises(TrainError, match="another mix or seed"):
        list(write_scenes(cache, MIX, 4, store.folder, SHARD))


def test_missing_scenes_and_answers_are_named(store, tmp_path):
    with pytest.raises(TrainError, match="train scenes"):
        SceneStore(tmp_path)
    with pytest.raises(TrainError, match="train teach"):
        store.read("nothing", 0)


def test_recordings_are_cut_into_windows_whose_middles_join(tmp_path, val):
    samples = np.arange(100_000, dtype=np.float32)
    windows = cut_windows(samples)
    ticks = windows.reshape(len(windows), 75, 1280)
    np.testing.assert_array_equal(join_cores(ticks, 78).reshape(-1), samples[: 78 * 1280])
    save_answers(tmp_path, val)
    loaded = load_answers(tmp_path)[0]
    assert loaded.truth == val[0].truth
    np.testing.assert_array_equal(loaded.features.slow, val[0].features.slow)


def test_a_head_resumes_where_it_stopped_and_an_ended_run_does_not(answered, val, tmp_path, capsys):
    whole = head_training.fit_head(HEAD, answered.folder.parent, val, tmp_path / "whole")
    part = head_training.fit_head(HEAD, answered.folder.parent, val, tmp_path / "part", hours=0.0)
    assert int(part.step) == 3
    both = head_training.fit_head(HEAD, answered.folder.parent, val, tmp_path / "part")
    assert int(both.step) == 6
    np.testing.assert_allclose(
        both.params["head"]["kernel"], whole.params["head"]["kernel"], atol=1e-5
    )
    assert "continuing from step 3" in capsys.readouterr().err
    again = head_training.fit_head(HEAD, answered.folder.parent, val, tmp_path / "part")
    assert int(again.step) == 6
    assert "continuing" not in capsys.readouterr().err


def test_a_batch_of_taught_scenes_is_a_function_of_seed_and_step(taught):
    batches = StoredBatches(taught, 1, 4)
    assert len(batches.labels) == 3 + 64
    one, other = batches(7), next(batches.iter_batches(7, 8))
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a, b)
    assert one.teacher.shape == (4, 7, 3)
    assert one.posterior.shape == (4, 100)
    assert one.features.shape == (4, 50, 64)
    halves = [StoredBatches(taught, 1, 4, hosts=(i, 2))(7).samples for i in range(2)]
    np.testing.assert_array_equal(np.sort(np.concatenate(halves), 0), np.sort(one.samples, 0))


def test_the_taggers_probabilities_are_interpolated_at_the_windows(taught):
    batches = StoredBatches(taught, 1, 1)
    scene = batches.read_scenes(np.array([0]))
    steps = (taught.read("yamnet", 0)[:, 421] / 255.0) ** 2
    assert scene.teacher[0, 0, 0] == pytest.approx(steps[1], abs=1e-5)
    assert scene.teacher[0, 1, 0] == pytest.approx((steps[2] + steps[3]) / 2, abs=1e-5)


def test_the_taggers_probabilities_are_unknown_in_digital_silence(taught):
    scene = StoredBatches(taught, 1, 1).read_scenes(np.arange(SHARD))
    starts = np.arange(scene.teacher.shape[1]) * 7_680
    silent = np.stack([np.mean(scene.samples[:, a : a + 15_360] == 0.0, axis=1) for a in starts], 1)
    unknown = np.isnan(scene.teacher)
    assert unknown[silent == 1.0].all()
    assert not unknown[silent == 0.0].any()
    assert 0.02 < unknown.mean() < 0.5


def test_a_detector_learns_from_taught_scenes(cache, taught, tmp_path, small_validation):
    config = replace(
        DETECTOR, scenes="set", teacher_weight=0.5, posterior_weight=1.0, posterior_delay=2,
        feature_weight=0.2, steps=2, warmup=1, mine_every=0,
    )  # fmt: skip
    state = detector_loop.fit(config, cache, tmp_path, scenes=taught.folder.parent)
    assert int(state.step) == 2
    params = detector_loop.load_mean_params(config, tmp_path)
    assert params["head"]["bias"].shape == (len(LABELS) + 67,)


def test_a_verifier_is_trained_and_exported_with_its_first_stage(
    cache, taught, tmp_path, small_validation, monkeypatch, capsys
):
    monkeypatch.setattr(verifier_validation, "RARE", 4)
    monkeypatch.setattr(verifier_validation, "REELS", 1)
    stage = replace(DETECTOR, steps=2, warmup=1, mine_every=0)
    detector_loop.fit(stage, cache, tmp_path / "stage")
    model = replace(VERIFIER, labels=LABELS)
    config = VerifierTrainingConfig(
        name="verifier", version="1", scenes="set", model=model, batch=4, steps=2, warmup=1,
        teacher_weight=0.5, posterior_weight=1.0, feature_weight=0.2, margin=3,
        validate_every=1, checkpoint_every=1,
    )  # fmt: skip
    corpus = Corpus(cache)
    for _ in range(2):
        state = fit_verifier(config, taught.folder.parent, corpus, tmp_path / "verifier")
        assert int(state.step) == 2
    assert "continuing" not in capsys.readouterr().err
    mixtures.write_mixtures(
        [
            *mixtures.make_rare_mixtures(corpus, "val", 1, 4, (6.0,)),
            *mixtures.make_film_mixtures(corpus, "val", 1, 1),
        ],
        tmp_path / "val",
    )
    first = export.export_detector(
        stage, "test", corpus, tmp_path / "stage", tmp_path / "val", tmp_path / "bundle"
    )
    bundle = verifier_export.attach_verifier(
        first, config, "test", tmp_path / "verifier", corpus, tmp_path / "val", tmp_path / "bundle"
    )
    assert bundle.verifier is not None
    assert 0.0 < bundle.verifier.candidate_threshold <= 0.3
    assert bundle.operating_points["sensitive"].stage_threshold is not None
    assert {"background", "stage_background"} <= set(bundle.card)
    assert isinstance(bundle.model, ModelConfig)
    assert bundle.has_graphs
    again = verifier_export.attach_verifier(
        bundle, config, "test", tmp_path / "verifier", corpus, tmp_path / "val", tmp_path / "again"
    )
    assert again.verifier is not None
    assert again.verifier.candidate_threshold == bundle.verifier.candidate_threshold
    assert "verifier_calibration" in bundle.card
