"""Field recordings whose shots were all measured: labels, scenes and mixtures; cut scenes."""

import csv
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from corpus import FIELDS, noise

from streamdet.synth import muzzle_blast
from train.data import effects, mixtures
from train.data.config import MixConfig
from train.data.corpus import Corpus, prepare_corpus
from train.data.distances import read_distances
from train.data.labels import GUNSHOT, LABELS
from train.data.mixing import Mixer
from train.data.scene import SceneDraft, mark_after, silence_part
from train.data.shots import find_strong_labels
from train.data.teacher import TeacherTrack
from train.errors import TrainError

ONSETS_S = (1.2, 2.4)


@pytest.fixture(scope="module")
def city(data, tmp_path_factory):
    """The made-up corpus with two recordings of a city sensor, two far shots in each."""
    folder = tmp_path_factory.mktemp("city")
    shutil.copytree(data, folder, dirs_exist_ok=True)
    rng = np.random.default_rng(4)
    rows, boxes = [], [["path", "onset_s", "offset_s"]]
    for split in ("train", "val"):
        samples = noise(rng, 4.0, 0.003)
        for onset in ONSETS_S:
            blast = muzzle_blast(rng) * 0.1
            at = round(onset * 16_000)
            samples[at : at + len(blast)] += blast[: len(samples) - at]
        name = f"audio/{split}-sensor.flac"
        soundfile.write(folder / name, samples, 16_000)
        rows.append([name, split, "gunshot", "pistol", "field", "made", f"{split}-fp", "CC0",
                     4.0, 12_000, 1])  # fmt: skip
        boxes += [[name, onset, onset + 0.3] for onset in ONSETS_S]
    with (folder / "manifest.csv").open("a", newline="") as sink:
        csv.writer(sink).writerows(rows)
    assert len(FIELDS) == len(rows[0])
    with (folder / "events.csv").open("w", newline="") as sink:
        csv.writer(sink).writerows(boxes)
    cache = folder / "cache"
    prepare_corpus(folder, cache)
    return cache


def test_every_measured_shot_of_a_recording_is_labelled(city):
    (clip,) = (c for c in Corpus(city).select_clips("train", "gunshot") if c.kind == "field")
    assert clip.onsets == (120, 240)
    assert clip.measured
    assert clip.located


def test_a_wide_box_is_searched_and_a_narrow_one_is_exact():
    samples = noise(np.random.default_rng(0), 3.0, 0.003)
    blast = muzzle_blast(np.random.default_rng(1))
    samples[24_000 : 24_000 + len(blast)] += blast
    narrow = find_strong_labels(samples, "field", [(1.0, 1.3)])
    assert narrow.onsets.tolist() == [100]
    assert narrow.measured
    wide = find_strong_labels(samples, "field", [(1.2, 2.2)])
    assert wide.onsets.tolist() == [pytest.approx(150, abs=1)]
    assert not wide.measured


def test_a_recorded_scene_has_its_shots_labelled_and_no_silence(city):
    mixer = Mixer(Corpus(city), MixConfig(recorded_scene=1.0, no_shot=1.0, no_negative=1.0))
    for seed in range(8):
        scene = mixer.make_scene(np.random.default_rng(seed))
        starts = np.flatnonzero(np.diff(scene.targets[:, GUNSHOT], prepend=0.0) > 0)
        assert 1 <= len(starts) <= 2
        assert scene.targets[:, LABELS.index("ambience")].all()
        uncertain = scene.weights[:, GUNSHOT] == 0.0
        after = mark_after(starts, len(uncertain), 10)
        assert not (uncertain & scene.targets[:, GUNSHOT].astype(bool)).any()
        assert uncertain.any()
        assert not uncertain[: max(0, starts[0] - 3)].any()
        assert after.any()
        quietest = np.abs(scene.samples.reshape(-1, 160)).max(axis=1).min()
        assert quietest > 0.0


def test_city_mixtures_are_the_recordings_with_all_their_shots(city):
    (mixture,) = mixtures.make_city_mixtures(Corpus(city), "val")
    assert mixture.name == "city/val-sensor.flac"
    assert [e.onset_s for e in mixture.truth] == list(ONSETS_S)
    assert {e.ebr_db for e in mixture.truth} == {None}


def test_city_mixtures_have_the_distance_if_it_is_known(city, tmp_path):
    (tmp_path / "tests.csv").write_text("test,x_m,y_m,z_m\na,100,0,0\n")
    (recording,) = [c for c in Corpus(city).select_clips("val", "gunshot") if c.measured]
    (tmp_path / "sensors.csv").write_text(
        f"test,path,x_m,y_m,z_m\na,../{recording.path},100,30,40\n"
    )
    distances = read_distances(tmp_path)
    assert distances == {Path(recording.path).name: 50.0}
    (mixture,) = mixtures.make_city_mixtures(Corpus(city), "val", distances)
    assert {e.ebr_db for e in mixture.truth} == {50}
    assert read_distances(tmp_path / "none") == {}
    (tmp_path / "tests.csv").write_text("test,x_m\na,1\n")
    with pytest.raises(TrainError, match=r"tests\.csv can't be read: no 'y_m'"):
        read_distances(tmp_path)


def test_a_silenced_part_has_no_targets_and_a_cut_shot_is_uncertain():
    frames = 600
    targets = np.zeros((frames, len(LABELS)), np.float32)
    targets[100:500, GUNSHOT] = 1.0
    for seed in range(20):
        draft = SceneDraft(
            np.ones(frames * 160, np.float32), targets.copy(),
            np.ones((frames, len(LABELS)), np.float32), np.ones(frames, np.float32),
            TeacherTrack(6.0, 0),
        )  # fmt: skip
        samples = silence_part(draft, draft.samples, np.random.default_rng(seed))
        silent = samples.reshape(frames, 160).max(axis=1) == 0.0
        assert 50 <= silent.sum() < 400
        assert not draft.targets[silent].any()
        assert draft.weights[silent].all()
        assert not draft.bag.any()
        last = np.flatnonzero(silent)[-1] + 1
        if last < frames and 100 < last < 500:
            assert not draft.targets[last:, GUNSHOT].any()
            assert not draft.weights[last:500, GUNSHOT].any()


def test_scenes_with_silence_and_two_microphones_are_finite(city):
    mix = MixConfig(digital_silence=1.0, two_microphones=1.0)
    scene = Mixer(Corpus(city), mix).make_scene(np.random.default_rng(1))
    assert np.isfinite(scene.samples).all()
    assert (scene.samples == 0.0).mean() > 0.05
    same = Mixer(Corpus(city), replace(mix)).make_scene(np.random.default_rng(1))
    np.testing.assert_array_equal(scene.samples, same.samples)


def test_two_microphones_make_a_comb():
    impulse = np.zeros(1_000, np.float32)
    impulse[100] = 1.0
    out = effects.average_two_microphones(impulse, np.random.default_rng(2))
    first, second = np.flatnonzero(out)
    assert first == 100
    assert 1 <= second - first <= 48
    assert 0.35 <= out[second] <= out[first] == 0.5
