"""The training loops: donated states, losses read at intervals, and strides."""

import math
from dataclasses import replace

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from taggers import SMALL as TAGGER
from test_train import SMALL as DETECTOR

from streamdet.model.config import ModelConfig
from train.data import labels
from train.data.corpus import Corpus
from train.data.mixing import Mixer
from train.data.scene import Scene
from train.detector import config as configs
from train.detector import journal, run
from train.detector import loop as detector_loop
from train.detector.loss import compute_loss, compute_teacher_loss
from train.errors import TrainError
from train.tagging import loop as tagger_loop
from train.tagging.clips import TaggerClips


def stack_scenes(cache, config):
    mixer = Mixer(Corpus(cache), config.mix)
    scenes = [mixer.make_scene(np.random.default_rng(i)) for i in range(config.batch)]
    return Scene(*(np.stack(column) for column in zip(*scenes, strict=True)))


def assert_donates(step, state):
    old = jax.tree.leaves(state)
    for _ in range(3):
        state = step(state)
        assert all(leaf.is_deleted() for leaf in old)
        old = jax.tree.leaves(state)
    assert not any(leaf.is_deleted() for leaf in old)


def test_a_detectors_step_deletes_the_old_state_but_not_the_weights_it_began_from(cache):
    scene = stack_scenes(cache, DETECTOR)
    frames = detector_loop.compute_features(DETECTOR, scene.samples)
    start = detector_loop.create_state(DETECTOR).params
    state = detector_loop.create_state(DETECTOR, start)
    assert_donates(lambda s: detector_loop.train_step(DETECTOR, s, frames, scene)[0], state)
    assert not any(leaf.is_deleted() for leaf in jax.tree.leaves(start))


@pytest.mark.parametrize("average", [0.9, 0.0])
def test_a_taggers_step_deletes_the_old_state_but_not_the_weights_it_began_from(
    store, tmp_path, average
):
    config = replace(TAGGER, average=average)
    batch = next(TaggerClips(config, store, None, tmp_path).iter_batches(0))
    start = tagger_loop.create_state(config).params
    state = tagger_loop.create_state(config, start)
    assert_donates(lambda s: tagger_loop.train_step(config, s, batch)[0], state)
    assert not any(leaf.is_deleted() for leaf in jax.tree.leaves(start))


def run_step_by_step(config, store, folder):
    """The averaged loss after each step, read at every step."""
    state, losses = tagger_loop.create_state(config), []
    for batch in TaggerClips(config, store, None, folder).iter_batches(0):
        state, _ = tagger_loop.train_step(config, state, batch)
        losses.append(float(state.loss))
    return losses


def test_a_run_reads_few_losses_and_journals_those_of_a_step_by_step_loop(
    store, tmp_path, monkeypatch
):
    monkeypatch.setattr(run, "LOG_EVERY", 15)
    config = replace(TAGGER, steps=40, validate_every=40, checkpoint_every=40)
    losses, steps = run_step_by_step(config, store, tmp_path), []
    record_loss = run.TrainingRun.record_loss

    def count(self, step, loss):
        steps.append(step)
        record_loss(self, step, loss)

    monkeypatch.setattr(run.TrainingRun, "record_loss", count)
    tagger_loop.fit(config, store, tmp_path / "run", report=lambda _: None)
    assert steps == [1, 11, 15, 25, 30, 40]
    rows = [row for row in journal.read_journal(tmp_path / "run") if "loss" in row]
    assert [row["step"] for row in rows] == [15, 30]
    for row in rows:
        assert row["loss"] == pytest.approx(losses[row["step"] - 1], abs=2e-5)


def test_a_run_ends_and_saves_weights_at_the_exact_step_that_passes_a_loss(store, tmp_path):
    config = replace(TAGGER, steps=150, mixup=0.0, missing=0.0, dropout=0.0, validate_every=150,
                     checkpoint_every=150)  # fmt: skip
    losses = run_step_by_step(config, store, tmp_path)
    first = {level: next(i for i, loss in enumerate(losses, 1) if loss < level)
             for level in (2.0, 1.8, 1.5)}  # fmt: skip
    assert first[1.5] < 150
    config = replace(config, until_loss=1.5, keep_at=(2.0, 1.8))
    summary = tagger_loop.fit(config, store, tmp_path / "run", report=lambda _: None)
    assert summary["last"]["step"] == first[1.5]
    for level in (2.0, 1.8):
        card = tagger_loop.tagger_bundle.load(tmp_path / "run" / f"at-{level:g}")[2]
        assert card["step"] == first[level]


@settings(deadline=None)
@given(
    st.lists(st.floats(0.0, 4.0), min_size=1, max_size=200),
    st.lists(st.floats(0.01, 4.0), max_size=3),
)
def test_no_level_is_passed_between_two_reads(losses, levels):
    mean, passed_at, seen_at = 0.0, {}, {}
    next_read, pending = 1, list(levels)
    for step, loss in enumerate(losses, 1):
        mean = float(run.update_mean_loss(np.int32(step - 1), np.float64(mean), np.float64(loss)))
        for level in levels:
            if mean < level:
                passed_at.setdefault(level, step)
        if step >= next_read:
            for level in levels:
                if mean < level:
                    seen_at.setdefault(level, step)
            pending = [level for level in pending if level <= mean]
            next_read = step + run.count_safe_steps(mean, pending)
    assert seen_at == passed_at


def test_losses_far_from_a_level_are_read_seldom_and_near_ones_at_every_step():
    assert run.count_safe_steps(8.0, [0.5]) == run.READ_EVERY
    assert run.count_safe_steps(1.0, []) == run.READ_EVERY
    assert run.count_safe_steps(1.0, [2.0]) == run.READ_EVERY
    assert run.count_safe_steps(1.0, [0.999]) == 1
    assert run.count_safe_steps(1.0, [0.9]) == 5
    assert run.count_safe_steps(math.nan, [0.9]) == run.READ_EVERY


def test_the_checkpoints_of_an_ended_run_are_closed(cache, tmp_path, small_validation, monkeypatch):
    config = replace(DETECTOR, steps=2, warmup=1, validate_every=2, checkpoint_every=2)
    whole = detector_loop.fit(config, cache, tmp_path, workers=0)
    opened, closed, close = [], [], ocp.CheckpointManager.close
    monkeypatch.setattr(run, "open_checkpoints", count_calls(run.open_checkpoints, opened))
    monkeypatch.setattr(ocp.CheckpointManager, "close", count_calls(close, closed))
    again = detector_loop.fit(config, cache, tmp_path, workers=0)
    np.testing.assert_array_equal(again.loss, whole.loss)
    detector_loop.load_mean_params(config, tmp_path)
    assert len(opened) == len(closed) == 2
    (tmp_path / "checkpoints").rename(tmp_path / "removed")
    with pytest.raises(TrainError, match="no checkpoint"):
        detector_loop.fit(config, cache, tmp_path, workers=0)


def count_calls(function, calls):
    def call(*arguments, **options):
        calls.append(arguments)
        return function(*arguments, **options)

    return call


@pytest.mark.parametrize("conv", [((8, 5, 2),), ((8, 5, 2), (8, 5, 4))])
def test_a_detector_trains_with_another_stride(cache, tmp_path, small_validation, conv):
    model = ModelConfig(conv=conv, cells=(8,), labels=labels.LABELS)
    config = replace(DETECTOR, model=model, steps=2, warmup=1, validate_every=2, checkpoint_every=2,
                     bag_weight=0.1, segment_weight=0.1)  # fmt: skip
    assert config.frame == 160 * model.stride
    assert config.frame_s == pytest.approx(0.01 * model.stride)
    state = detector_loop.fit(config, cache, tmp_path, workers=0)
    assert np.isfinite(float(state.loss))


def test_a_teachers_window_is_compared_with_the_frame_in_which_it_ends():
    """At any frame length; 12 frames of 40 ms for each window, the first ends with frame 23."""
    for frame_s, frames_in_hop in ((0.04, 12), (0.02, 24), (0.08, 6)):
        windows, ends = 12, np.arange(12) * frames_in_hop + 2 * frames_in_hop - 1
        logits = np.full((1, 14 * frames_in_hop, 1), -20.0, np.float32)
        logits[0, ends] = 20.0
        value = compute_teacher_loss(logits, np.ones((1, windows, 1), np.float32), frame_s)
        assert float(value) < 1e-5


def test_every_config_has_frames_that_scenes_can_be_labelled_in(cache):
    for name in configs.list_configs():
        config = configs.load_config(name)
        if isinstance(config, configs.DetectorConfig):
            assert config.frame == 640, name
    logits = np.zeros((DETECTOR.batch, 50, len(labels.LABELS)), np.float32)
    assert np.isfinite(float(compute_loss(DETECTOR, logits, stack_scenes(cache, DETECTOR), 0.04)))
