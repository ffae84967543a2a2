"""The frontend: what the log-mel frames measure, and that chunking never changes them."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from streamdet.model import frontend
from streamdet.model.config import FrontendConfig

CONFIG = FrontendConfig()
step = jax.jit(partial(frontend.step, CONFIG))


def frames_of(samples):
    return np.asarray(step(frontend.init(CONFIG, len(samples)), samples)[1])


def tone(hertz, seconds=0.5):
    return np.sin(2 * np.pi * hertz * np.arange(round(seconds * 16_000)) / 16_000)[None].astype("f")


@given(sizes=st.lists(st.sampled_from([80, 240, 800, 3_040]), min_size=1, max_size=5))
@example(sizes=[1, 159, 161, 700, 3_000])
@settings(max_examples=25, deadline=None)
def test_any_chunking_gives_the_same_frames(sizes):
    samples = np.random.default_rng(0).normal(0, 0.1, (2, 15_000)).astype("f")
    whole = np.asarray(step(frontend.init(CONFIG, 2), samples)[1])
    state, parts, at = frontend.init(CONFIG, 2), [], 0
    for size in sizes:
        state, frames = step(state, samples[:, at : at + size])
        parts.append(np.asarray(frames))
        at += size
    assert whole.shape == (2, 15_000 // CONFIG.hop, CONFIG.bands)
    chunked = np.concatenate(parts, axis=1)
    np.testing.assert_allclose(chunked, whole[:, : at // CONFIG.hop], atol=1e-5)


@pytest.mark.parametrize("hertz", [200, 1_000, 4_000, 7_000])
def test_a_full_scale_tone_measures_about_0_db_in_its_band(hertz):
    power = np.exp(np.asarray(frontend.log_power(CONFIG, jnp.asarray(frames_of(tone(hertz))))))
    steady = power[0, 20]
    loudest = int(np.argmax(steady))
    edges = 700 * (10 ** (np.linspace(*_mel(60, 7_800), 66) / 2595) - 1)
    assert abs(10 * np.log10(steady[loudest])) < 2.5
    assert edges[loudest] <= hertz <= edges[loudest + 2]


def _mel(*hertz):
    return [2595 * np.log10(1 + h / 700) for h in hertz]


def test_no_frame_looks_ahead():
    samples = np.zeros((1, 16_000), np.float32)
    samples[0, 8_000:] = 0.5
    frames = frames_of(samples)[0]
    assert np.allclose(frames[: 8_000 // CONFIG.hop], frames[0])
    assert frames[8_000 // CONFIG.hop].max() > frames[0].max()


def test_silence_is_finite_and_at_the_floor():
    frames = frames_of(np.zeros((1, 1_600), np.float32))
    floor = (np.log(CONFIG.floor) - CONFIG.mean) / CONFIG.scale
    np.testing.assert_allclose(frames, floor, atol=1e-5)


def test_every_band_has_a_filter():
    assert (frontend.mel_matrix(CONFIG).max(axis=0) > 0.5).all()
