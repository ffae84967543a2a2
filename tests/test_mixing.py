"""Scenes, and the effects on the sounds in them."""

from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest
from corpus import noise

from streamdet.synth import muzzle_blast
from train.data import codecs, effects, labels, shots, sounds, spaces
from train.data.config import MixConfig
from train.data.corpus import Corpus, CorpusError
from train.data.loader import SceneBatches
from train.data.mixing import Mixer
from train.data.recorder import simulate_recorder
from train.data.strikes import synthesise_strike
from train.data.teacher import TeacherTrack
from train.detector import loss

MIX = MixConfig(scene_s=2.0, no_shot=0.2)


def test_a_scene_is_a_function_of_its_seed(cache):
    mixer = Mixer(Corpus(cache), MIX)
    one, two, other = (mixer.make_scene(np.random.default_rng(s)) for s in (7, 7, 8))
    for a, b in zip(one, two, strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(one.samples, other.samples)


def test_scenes_are_valid_and_their_targets_fit_them(cache):
    mixer = Mixer(Corpus(cache), MIX)
    scenes = [mixer.make_scene(np.random.default_rng(i)) for i in range(40)]
    for scene in scenes:
        assert scene.samples.shape == (32_000,)
        assert scene.samples.dtype == np.float32
        assert np.abs(scene.samples).max() <= 1.0
        assert scene.targets.shape == scene.weights.shape == (50, len(labels.LABELS))
        assert set(np.unique(scene.targets)) <= {0.0, 1.0}
        assert (scene.weights[scene.targets == 1.0] > 0).all()
    labelled = np.mean([s.targets.max(axis=0) for s in scenes], axis=0)
    assert (labelled > 0).all()


def test_targets_have_the_frames_of_the_model(cache):
    """Pooled to 40 ms, the targets of a model with frames of 20 ms are those of one with 40 ms."""
    fine, coarse = (
        SceneBatches(cache, MIX, seed=3, rows=2, frame=frame)(0) for frame in (320, 640)
    )
    assert fine.targets.shape == fine.weights.shape == (2, 100, len(labels.LABELS))
    assert fine.bag.shape == (2, 100)
    np.testing.assert_array_equal(fine.samples, coarse.samples)
    pooled = fine.targets.reshape(2, 50, 2, -1).max(axis=2)
    np.testing.assert_array_equal(pooled, coarse.targets)
    assert pooled.any()


@pytest.mark.parametrize("frame", [500, 100, 0])
def test_a_frame_that_scenes_cannot_be_labelled_in_is_refused(cache, frame):
    with pytest.raises(CorpusError, match=rf"steps of 160 samples, .* has {frame}\."):
        Mixer(Corpus(cache), MIX, frame=frame)


def test_a_scene_without_shots_has_no_gunshot_target(cache):
    mixer = Mixer(Corpus(cache), replace(MIX, no_shot=1.0))
    for i in range(20):
        scene = mixer.make_scene(np.random.default_rng(i))
        assert not scene.targets[:, labels.GUNSHOT].any()


def test_gunshot_targets_begin_at_the_shot(cache):
    mixer = Mixer(
        Corpus(cache),
        replace(MIX, no_shot=0.0, max_shots=1, no_negative=1.0, burst=0.0, quiet_bed=1.0),
    )
    close = 0
    for i in range(30):
        scene = mixer.make_scene(np.random.default_rng(i))
        frames = np.flatnonzero(scene.targets[:, labels.GUNSHOT])
        if len(frames):
            flux = shots.compute_spectral_flux_db(scene.samples)
            close += abs(frames[0] * 4 - int(np.argmax(flux[5:])) - 5) <= 6
    assert close >= 20


@pytest.mark.parametrize(
    "make",
    [spaces.make_room_response, spaces.make_open_ground_response, spaces.make_street_response],
)
def test_an_impulse_response_begins_with_the_direct_sound(make):
    for seed in range(10):
        response = make(np.random.default_rng(seed))
        assert response[0] == 1.0
        assert np.abs(response).max() < 2.0


def test_effects_do_what_they_say():
    rng = np.random.default_rng(1)
    x = noise(rng, 1.0)
    power = lambda y, lo, hi: (np.abs(np.fft.rfft(y))[lo:hi] ** 2).sum()  # noqa: E731
    low = effects.apply_filters(x, None, [lambda f: effects.compute_low_pass(f, 2_000.0)])
    assert power(low, 3_000, 8_000) < 1e-3 * power(x, 3_000, 8_000)
    high = effects.apply_filters(x, None, [lambda f: effects.compute_high_pass(f, 1_000.0)])
    assert power(high, 1, 200) < 1e-2 * power(x, 1, 200)
    assert len(effects.change_speed(x, 2.0)) == len(x) // 2
    assert np.abs(effects.apply_limiter(x, 12.0)).max() == pytest.approx(np.abs(x).max(), rel=1e-3)
    levels = [np.std(effects.draw_coloured_noise(16_000, rng)) for _ in range(50)]
    assert np.mean(levels) == pytest.approx(1.0, abs=0.2)


@pytest.mark.parametrize("name", codecs.CODEC_NAMES)
@pytest.mark.parametrize("quality", [0.0, 0.5, 1.0])
def test_a_codec_leaves_a_sound_where_it_was(name, quality):
    x = noise(np.random.default_rng(0), 2.0, 1e-3)
    blast = muzzle_blast(np.random.default_rng(4), 0.5)[:4_000]
    x[12_345 : 12_345 + len(blast)] += blast
    back = codecs.apply_codec(name, x, quality)
    assert back.shape == x.shape
    assert back.dtype == np.float32
    lags = np.correlate(back[11_000:18_000], x[12_000:17_000], "valid")
    assert int(np.argmax(np.abs(lags))) - 1_000 == pytest.approx(0, abs=16)
    assert not np.array_equal(back, x)


def test_narrow_codecs_lose_what_is_above_4_khz():
    x = noise(np.random.default_rng(1), 1.0)
    above = lambda y: (np.abs(np.fft.rfft(y))[4_200:] ** 2).sum()  # noqa: E731
    for name in ("gsm", "telephone"):
        assert above(codecs.apply_codec(name, x, 1.0)) < 0.01 * above(x)


def test_gain_control_lifts_the_quiet_and_lowers_the_loud():
    rng = np.random.default_rng(2)
    db = lambda y: 10 * np.log10(np.mean(y[8_000:] ** 2))  # noqa: E731
    quiet, loud = noise(rng, 2.0, 1e-3), noise(rng, 2.0, 0.3)
    level = [db(effects.apply_gain_control(x, -25.0, 0.3)) for x in (quiet, loud)]
    assert db(quiet) + 20 < level[0] < -25
    assert -25 < level[1] < db(loud) - 8


def test_drop_outs_are_digital_silence():
    x = noise(np.random.default_rng(3), 2.0)
    gone = effects.insert_dropouts(x, np.random.default_rng(0)) == 0.0
    assert 300 <= gone.sum() <= 3 * 16_000


def test_repetition_says_where_every_onset_is():
    blast = muzzle_blast(np.random.default_rng(0), 0.5)[:3_000]
    for seed in range(12):
        x, onsets = sounds.repeat_sound(blast, 0, np.random.default_rng(seed))
        assert len(onsets) >= 2
        assert (np.diff(onsets) >= 3).all()
        assert onsets[-1] * 160 + len(blast) == len(x)
        for onset in onsets[:3]:
            assert np.abs(x[onset * 160 : onset * 160 + 320]).max() > 0.0


def test_machinery_hammers_faster_than_any_aimed_fire():
    knock = noise(np.random.default_rng(1), 0.2) * np.geomspace(1, 1e-3, 3_200).astype("f")
    x, starts = sounds.make_machinery(knock, 0, np.random.default_rng(0))
    assert len(starts) >= 4
    assert 0.4 < len(x) / 16_000 < 4.5
    assert np.median(np.diff(starts)) <= 12


def test_a_strike_is_sudden_and_unlike_any_other():
    rise = []
    for seed in range(40):
        x = synthesise_strike(np.random.default_rng(seed))
        assert x.dtype == np.float32
        assert 0.1 < len(x) / 16_000 <= 1.0
        assert np.abs(x).max() == pytest.approx(1.0, abs=1e-3)
        rise.append(int(np.argmax(np.abs(x) > 0.3)))
    assert np.median(rise) < 320
    one, other = (synthesise_strike(np.random.default_rng(s)) for s in (0, 1))
    assert not np.array_equal(one[:1_000], other[:1_000])


def test_a_cut_is_one_rise_of_a_longer_sound():
    rng = np.random.default_rng(0)
    x = noise(rng, 4.0, 1e-3)
    x[32_000:36_000] += noise(rng, 0.25, 0.3)
    for seed in range(8):
        piece, onsets, start = sounds.cut_single_rise(
            x, np.array([200]), np.random.default_rng(seed)
        )
        assert 0.08 <= len(piece) / 16_000 <= 0.8
        assert start == 32_000 - 320
        assert onsets.tolist() == [2]
        assert abs(piece[-1]) < 1e-3


def test_two_sounds_at_once_begin_together():
    rng = np.random.default_rng(5)

    def sound(lead_s):
        x = np.zeros(16_000, np.float32)
        x[round(lead_s * 16_000) :][:1_600] = noise(rng, 0.1, 0.2)
        none = np.zeros((0, 0), np.float32)
        return sounds.SceneSound(
            x, sounds.find_activity(x), np.array([round(lead_s * 100)]), none, True
        )

    for one, other in ((0.1, 0.5), (0.5, 0.1)):
        both = sounds.layer_sounds(sound(one), sound(other), np.random.default_rng(1))
        assert np.flatnonzero(both.active)[0] == round(one * 100)
        assert np.ptp(both.onsets) <= 3
        assert np.count_nonzero(np.abs(both.samples) > 1e-6) < 2_200


def test_a_spliced_sound_keeps_its_blast_and_has_anothers_tail():
    rng = np.random.default_rng(2)
    one, other = noise(rng, 0.5, 0.1), noise(rng, 1.0, 0.01)
    both = sounds.splice_tail(one, 5, other, 20, np.random.default_rng(0))
    assert len(one) != len(both) < len(other)
    np.testing.assert_array_equal(both[:1_000], one[:1_000])
    for seed in range(8):
        both = sounds.splice_tail(one, 5, other, 20, np.random.default_rng(seed))
        loud = [float(np.sqrt(np.mean(x**2))) for x in (one, both[-3_200:])]
        assert abs(20 * np.log10(loud[1] / loud[0])) < 8.0
    np.testing.assert_array_equal(sounds.splice_tail(one[:900], 5, other, 20, rng), one[:900])


def test_a_shortened_decay_falls_faster_after_its_onset_only():
    x = noise(np.random.default_rng(3), 1.0)
    dry = sounds.shorten_decay(x, 20, np.random.default_rng(0))
    np.testing.assert_array_equal(dry[:3_200], x[:3_200])
    falls = [np.mean(dry[a : a + 3_200] ** 2) / np.mean(x[a : a + 3_200] ** 2)
             for a in range(3_200, 16_000, 3_200)]  # fmt: skip
    assert (np.diff(falls) < 0).all()


def test_scenes_have_no_teacher_target_where_a_sound_has_no_scores():
    track = TeacherTrack(6.0, 3)
    track.add_clip(np.full((12, 3), 0.5, np.float32), 0.0, 0.0, 6.0)
    track.add_clip(np.zeros((0, 0), np.float32), 4.0, 0.0, 0.5)
    assert np.flatnonzero(np.isnan(track.rows).any(axis=1)).tolist() == [7, 8, 9]
    logits = jnp.zeros((1, 150, 3))
    assert float(
        loss.compute_teacher_loss(logits, jnp.asarray(track.rows)[None], 0.04)
    ) == pytest.approx(np.log(2.0), abs=1e-5)


def test_shots_and_negatives_go_through_the_same_processing(cache):
    """The same generator state gives a shot and a negative the same processing."""
    x = noise(np.random.default_rng(0), 0.5)
    one = sounds.process_sound(MIX, x, np.array([3]), np.random.default_rng(9), repeat=True)
    two = sounds.process_sound(MIX, 2 * x, np.array([3]), np.random.default_rng(9), repeat=True)
    np.testing.assert_allclose(2 * one[0], two[0], atol=1e-5)
    np.testing.assert_array_equal(one[1], two[1])


def test_a_recorder_never_moves_a_sound_in_time():
    x = noise(np.random.default_rng(0), 2.0, 1e-4)
    x[16_000:17_600] += muzzle_blast(np.random.default_rng(4), 0.5)[:1_600]
    every = replace(MIX, codec=1.0, limiter=1.0, offset=1.0, drop_outs=0.0, clipping=1.0)
    for seed in range(10):
        y = simulate_recorder(every, x, np.random.default_rng(seed))
        assert np.abs(y).max() <= 1.0
        flux = shots.compute_spectral_flux_db(y - y.mean())
        assert abs(int(np.argmax(flux[5:-5])) + 5 - 100) <= 3


def test_a_clip_without_a_known_onset_becomes_a_bag(cache):
    corpus = Corpus(cache)
    corpus.clips = [
        replace(c, located=False) if c.category == "gunshot" else c for c in corpus.clips
    ]
    mixer = Mixer(corpus, replace(MIX, no_shot=0.0, weak_shot=1.0, synthetic_shot=0.0))
    bags = 0
    for i in range(20):
        scene = mixer.make_scene(np.random.default_rng(i))
        weighted = scene.weights[:, labels.GUNSHOT] > 0
        assert not scene.targets[:, labels.GUNSHOT].any()
        assert not (weighted & (scene.bag > 0)).any()
        bags += scene.bag.any()
    assert bags >= 8


def test_the_noise_around_a_far_shot_is_not_a_shot(cache):
    """Of a clip of steady noise with one shot, all but the 2 s after the shot have a weight."""
    corpus = Corpus(cache)
    steady = [
        replace(c, active=((0, c.length // 160),), onsets=(20,), kind="field")
        for c in corpus.clips
        if c.label == "rain" and c.split == "train"
    ]
    corpus.clips = [c for c in corpus.clips if c.category != "gunshot"]
    corpus.clips += [replace(c, category="gunshot", head="gunshot") for c in steady]
    mix = replace(MIX, scene_s=6.0, no_shot=0.0, max_shots=1, no_negative=1.0, field_shot=1.0,
                  synthetic_shot=0.0, layered=0.0, varispeed=0.0)  # fmt: skip
    late = 0
    for i in range(20):
        scene = Mixer(corpus, mix).make_scene(np.random.default_rng(i))
        uncertain = scene.weights[:, labels.GUNSHOT] == 0.0
        shot = np.flatnonzero(scene.targets[:, labels.GUNSHOT])
        late += len(shot) > 0 and shot[0] < 60 and not uncertain[shot[0] + 60 :].any()
        assert uncertain.sum() <= 52
    assert late >= 5


def test_a_bag_needs_one_peak_and_no_more():
    bag = jnp.zeros((1, 150)).at[0, 20:120].set(1.0)
    all_high, one_peak = jnp.full((1, 150), 4.0), jnp.full((1, 150), -4.0).at[0, 50].set(4.0)
    none = jnp.full((1, 150), -4.0)
    costs = [float(loss.compute_bag_loss(x, bag, 0.04)) for x in (all_high, one_peak, none)]
    assert costs[1] < 0.1 < 3.0 < min(costs[0], costs[2])
    assert float(loss.compute_bag_loss(none, jnp.zeros((1, 150)), 0.04)) == 0.0


def test_mined_clips_are_drawn(cache):
    corpus = Corpus(cache)
    path = corpus.select_clips("train", "music")[0].path
    mixer = Mixer(corpus, replace(MIX, mined_share=1.0), mined={path: 0.5})
    rng = np.random.default_rng(0)
    assert {mixer.draw_negative_clip(rng).path for _ in range(20)} == {path}
