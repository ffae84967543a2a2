"""Many streams in one step: each gives the scores that it would give alone."""

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamdet.detection.jax_engine import JaxEngine
from streamdet.detection.numpy_engine import NumpyEngine
from streamdet.detection.stream_batch import StreamBatch


def alone(bundle, samples):
    stream = NumpyEngine(bundle, block_frames=1).stream()
    return np.concatenate([f.scores for f in [*stream.feed(samples), *stream.finish()]])


def clip(seed, scene, seconds):
    at = seed * 1_237 % (len(scene) // 2)
    return scene[at : at + round(seconds * 16_000)]


@pytest.fixture(scope="module")
def engines(bundle):
    return {
        "numpy": lambda: NumpyEngine(bundle, streams=2, block_frames=1),
        "jax": lambda: JaxEngine(bundle, streams=8, block_frames=1),
    }


@pytest.mark.parametrize("kind", ["numpy", "jax"])
@settings(max_examples=8, deadline=None)
@given(plan=st.data())
def test_streams_that_open_and_close_score_as_they_would_alone(engines, bundle, scene, kind, plan):
    batch = StreamBatch(engines[kind]())
    streams, done = {}, {}
    for number in range(plan.draw(st.integers(1, 6), "streams")):
        seconds = plan.draw(st.floats(0.01, 1.0), "seconds")
        streams[number] = [batch.stream(), clip(number, scene, seconds), 0, []]
        for _ in range(plan.draw(st.integers(0, 4), "turns")):
            for key, row in list(streams.items()):
                stream, samples, at, frames = row
                count = plan.draw(st.integers(0, 4_000), "samples")
                frames += stream.feed(samples[at : at + count])
                row[2] = at + count
                if at + count >= len(samples) and plan.draw(st.booleans(), "leaves"):
                    frames += stream.finish()
                    stream.close()
                    done[key] = streams.pop(key)
            while batch.step():
                pass
            for row in streams.values():
                row[3] += row[0].poll()
    for key, (stream, samples, at, frames) in streams.items():
        frames += stream.feed(samples[at:])
        frames += stream.finish()
        stream.close()
        done[key] = (stream, samples, at, frames)
    for _, samples, _, frames in done.values():
        np.testing.assert_allclose(
            np.concatenate([f.scores for f in frames]), alone(bundle, samples), atol=1e-5
        )


def test_a_new_stream_does_not_compile_again(bundle, scene, caplog):
    engine = JaxEngine(bundle, streams=7, block_frames=1)
    batch = StreamBatch(engine)

    def step_new_stream():
        stream = batch.stream()
        stream.feed(scene[: engine.block])
        assert batch.step() == 1
        return stream

    with jax.log_compiles():
        step_new_stream()
        assert "step_rows" in caplog.text
        caplog.clear()
        step_new_stream().close()
        step_new_stream()
    assert "step_rows" not in caplog.text
