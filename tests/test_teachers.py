"""The public taggers: equal to their references, errors, shapes and alignment of features."""

import jax
import numpy as np
import pytest
import soundfile
import soxr
from conftest import ROOT, SHARED

from streamdet.constants import RATE
from train.errors import TrainError
from train.teachers import features, mn04, yamnet
from train.teachers.weights import load_weights

FOLDER = SHARED / "teachers"
TICK = features.TICK


@pytest.fixture(scope="module")
def teachers():
    if not (FOLDER / "yamnet.safetensors").is_file():
        pytest.skip("no weights of the taggers: ../shared/teachers is not there")
    return features.load_teachers(FOLDER)


@pytest.fixture(scope="module")
def reference(teachers):
    with np.load(FOLDER / "reference.npz") as arrays:
        return dict(arrays)


@pytest.fixture(scope="module")
def clip():
    samples, _ = soundfile.read(ROOT / "streamdet" / "demo" / "scene.flac", dtype="float32")
    return samples[None, : round(9.615 * RATE)]


def logits(probabilities):
    return np.log(probabilities / (1 - probabilities))


def test_yamnet_equals_its_reference(teachers, reference, clip):
    params = teachers.yamnet
    frames = np.asarray(jax.jit(yamnet.compute_log_mel)(params, clip))
    np.testing.assert_allclose(frames[0, :96], reference["yamnet_log_mel"], atol=1e-4)
    run = jax.jit(yamnet.apply, static_argnums=2)
    patch = run(params, frames[:, :96], (14,))[14]
    np.testing.assert_allclose(patch.mean((1, 2))[0], reference["yamnet_embedding"], atol=1e-4)
    found = logits(yamnet.classify(params, patch)[0])
    np.testing.assert_allclose(found, reference["yamnet_logits"], atol=2e-3)
    # the reference is float16
    whole = run(params, frames, (12,))[12][0]
    np.testing.assert_allclose(whole, reference["yamnet_layer12"], atol=2e-3)


def test_mn04_equals_its_reference(teachers, reference, clip):
    params = teachers.mn04
    samples = soxr.resample(clip[0], RATE, mn04.RATE)[None]
    frames = jax.jit(mn04.compute_log_mel)(params, samples)
    # the reference is float16
    np.testing.assert_allclose(frames[0], reference["mn04_log_mel"], atol=2e-3)
    layers = jax.jit(mn04.apply, static_argnums=2)(params, frames, (12, mn04.LAST))
    block12 = np.asarray(layers[12][0]).transpose(1, 0, 2)
    np.testing.assert_allclose(block12, reference["mn04_block12"], atol=5e-3)
    found = logits(mn04.classify(params, layers[mn04.LAST])[0])
    np.testing.assert_allclose(found, reference["mn04_logits"], atol=2e-3)


def test_features_have_a_row_for_each_complete_tick(teachers):
    ticks = 46
    samples = np.random.default_rng(0).normal(0, 0.1, (2, ticks * TICK + 700)).astype(np.float32)
    outputs = features.run_teachers(teachers, samples)
    found = outputs.features.expand()
    assert found.shape == (2, ticks, features.YAMNET_DIMS + features.MN04_DIMS)
    assert found.dtype == np.float32
    assert np.isfinite(found.astype(np.float16)).all()
    steps = -(-ticks // 4)
    assert outputs.yamnet.shape == (2, steps, 521)
    assert outputs.mn04.shape == (2, steps, 527)


def test_an_impulse_changes_the_features_of_its_tick_most(teachers):
    """The fields of the slower layers are so wide that only the median place is certain."""
    at = np.array([21, 22, 23, 24])
    quiet = np.random.default_rng(1).normal(0, 0.003, (4, 46 * TICK)).astype(np.float32)
    loud = quiet.copy()
    for row, tick in enumerate(at):
        middle = tick * TICK + TICK // 2
        loud[row, middle - 40 : middle + 40] += 0.5
    before = features.run_teachers(teachers, quiet).features
    after = features.run_teachers(teachers, loud).features
    changes = [np.abs(a - b) for a, b in zip(after, before, strict=True)]
    for change, boundary, ticks in zip(changes, (512, 1024, 2048), (1, 2, 4), strict=True):
        for tagger in np.split(change, [boundary], axis=2):
            off = tagger.mean(axis=2).argmax(axis=1) - at // ticks
            if ticks == 1:
                assert (off == 0).all()
            else:
                assert abs(np.median(off)) <= 1


def test_a_scene_is_analysed_alike_in_any_company(teachers):
    samples = np.random.default_rng(2).normal(0, 0.1, (3, 46 * TICK)).astype(np.float32)
    together = features.extract_features(teachers, samples)
    alone = features.extract_features(teachers, samples[1:2])
    np.testing.assert_allclose(together[1:2], alone, atol=1e-5)


def test_missing_and_damaged_files_are_one_line(tmp_path):
    with pytest.raises(TrainError, match=r"yamnet\.safetensors: no such file.*docs/training\.md"):
        load_weights(tmp_path, "yamnet")
    (tmp_path / "mn04.safetensors").write_bytes(b"not a network")
    with pytest.raises(TrainError, match=r"mn04\.safetensors: damaged.*docs/training\.md"):
        load_weights(tmp_path, "mn04")


def test_the_file_of_another_network_is_refused(teachers, tmp_path):
    (tmp_path / "yamnet.safetensors").symlink_to(FOLDER / "mn04.safetensors")
    with pytest.raises(TrainError, match="not the weights of yamnet"):
        load_weights(tmp_path, "yamnet")


def test_scenes_shorter_than_a_tick_are_refused(teachers):
    with pytest.raises(TrainError, match="1279 samples"):
        features.run_teachers(teachers, np.zeros((1, TICK - 1), np.float32))


def test_both_taggers_name_the_gunshot_classes(teachers):
    assert features.gunshot_columns(teachers.yamnet_classes) == [421, 422, 423, 424, 425]
    assert features.gunshot_columns(teachers.mn04_classes) == [427, 428, 429, 430, 431]
