"""The source pipeline: any chunking of any source gives the same events and scores."""

import numpy as np
import pytest
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st

from streamdet import demo
from streamdet.audio.resample import ChannelError, MonoResampler
from streamdet.audio.source import Block
from streamdet.detection.decision import DecisionConfig
from streamdet.detection.jax_engine import JaxEngine
from streamdet.pipeline.source_pipeline import SourcePipeline

CONFIG = DecisionConfig(threshold=0.6)


@pytest.fixture(scope="module")
def engines(bundle):
    return {frames: JaxEngine(bundle, block_frames=frames) for frames in (1, 2, 128)}


def run_pipeline(engine, samples, rate=16_000, sizes=None, start=0, channel=None):
    """Events and scores of (n, channels) samples fed in chunks of these sizes, in turn."""
    pipeline = SourcePipeline(engine, CONFIG, rate, samples.shape[1], channel, keep_scores=True)
    found, at, turn = [], 0, 0
    sizes = sizes or [len(samples)]
    while at < len(samples):
        size = sizes[turn % len(sizes)]
        found += pipeline.feed(Block(start + at, samples[at : at + size]))
        at, turn = at + size, turn + 1
    return found + pipeline.finish(), *pipeline.scores()


@pytest.fixture(scope="module")
def whole(engines, scene):
    return run_pipeline(engines[128], scene[:, None])


def assert_same(one, other):
    np.testing.assert_allclose(one[2], other[2], atol=1e-5)
    np.testing.assert_array_equal(one[1], other[1])
    assert len(one[0]) == len(other[0])
    for a, b in zip(one[0], other[0], strict=True):
        assert (a.phase, a.onset, a.offset, a.rounds) == (b.phase, b.onset, b.offset, b.rounds)
        assert a.score == pytest.approx(b.score, abs=1e-5)


@given(
    sizes=st.lists(st.integers(1, 160_000), min_size=1, max_size=6), block=st.sampled_from([2, 128])
)
@settings(max_examples=12, deadline=None)
def test_chunks_up_to_10_s_give_the_same_events_and_scores(engines, scene, whole, sizes, block):
    assert_same(run_pipeline(engines[block], scene[:, None], sizes=sizes), whole)


def test_single_samples_give_the_same_events_and_scores(engines, scene):
    part = scene[60_000:90_000, None]
    assert_same(run_pipeline(engines[2], part, sizes=[1]), run_pipeline(engines[128], part))


@given(sizes=st.lists(st.integers(1, 30_000), min_size=1, max_size=5))
@settings(max_examples=6, deadline=None)
def test_chunks_at_44100_hz_in_stereo_give_the_same_too(engines, stereo, sizes):
    assert_same(
        run_pipeline(engines[2], stereo, 44_100, sizes=sizes),
        run_pipeline(engines[128], stereo, 44_100),
    )


@pytest.fixture(scope="module")
def stereo(scene):
    mono = soxr.resample(scene[: 8 * 16_000], 16_000, 44_100)
    return np.stack([mono, mono], axis=1).astype(np.float32)


def test_the_shots_of_the_demo_are_detected_with_onsets_and_rounds(whole):
    finals = [d for d in whole[0] if d.phase == "final"]
    assert [d.onset / 16_000 for d in finals] == pytest.approx(demo.ONSETS_S, abs=0.05)
    assert [d.rounds for d in finals] == list(demo.ROUNDS)


@pytest.mark.parametrize("rate", [8_000, 11_025, 22_050, 44_100, 48_000, 96_000])
def test_an_impulse_stays_at_its_time_through_the_resampler(rate):
    samples = np.zeros((rate, 1), np.float32)
    samples[rate // 2] = 1.0
    converter = MonoResampler(rate, 1, 16_000)
    out = np.concatenate(
        [converter.feed(samples[:100]), converter.feed(samples[100:]), converter.finish()]
    )
    assert abs(len(out) - 16_000) <= 1
    assert abs(int(np.argmax(np.abs(out))) - 8_000) <= 1


def test_onsets_are_in_the_time_of_the_source(engines, scene):
    cut = 3 * 16_000
    events, times, _ = run_pipeline(engines[128], scene[cut:, None], start=cut)
    assert events[0].onset / 16_000 == pytest.approx(4.2, abs=0.05)
    assert times[0] == 3.0


def test_a_gap_closes_the_open_event_and_later_times_stay_right(engines, scene):
    pipeline = SourcePipeline(engines[2], CONFIG, 16_000, 1)
    first = pipeline.feed(Block(0, scene[: round(4.4 * 16_000), None]))
    assert [d.phase for d in first] == ["onset"]
    late = 7 * 16_000
    found = pipeline.feed(Block(late, scene[late:, None])) + pipeline.finish()
    assert found[0].phase == "final"
    assert found[0].onset == first[0].onset
    assert found[1].onset / 16_000 == pytest.approx(9.5, abs=0.05)


def test_nan_and_infinite_samples_do_not_break_the_stream(engines, scene):
    broken = scene.copy()
    broken[1_000:1_100], broken[2_000], broken[2_001] = np.nan, np.inf, -np.inf
    found, _, scores = run_pipeline(engines[128], broken[:, None])
    assert np.isfinite(scores).all()
    assert len([d for d in found if d.phase == "final"]) == 3


def test_one_channel_can_be_analysed_alone(engines, scene):
    part = scene[: 8 * 16_000]
    both = np.stack([np.zeros_like(part), part], axis=1)
    assert not run_pipeline(engines[128], both, channel=1)[0]
    assert run_pipeline(engines[128], both, channel=2)[0]
    with pytest.raises(ChannelError, match="no channel 3"):
        MonoResampler(16_000, 2, 16_000, 3)


def test_after_a_minute_of_digital_silence_every_shot_is_detected(engines, scene):
    silence = np.zeros((60 * 16_000, 1), np.float32)
    assert not run_pipeline(engines[128], silence)[0]
    found, _, _ = run_pipeline(engines[128], np.concatenate([silence, scene[:, None]]))
    onsets = [d.onset / 16_000 - 60 for d in found if d.phase == "final"]
    assert all(min(abs(onset - o) for o in onsets) < 0.05 for onset in demo.ONSETS_S)
