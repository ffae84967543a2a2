"""The engines, numpy, JAX in one step and JAX in stages, give the same results."""

from dataclasses import replace
from functools import cache

import jax
import numpy as np
import pytest
from conftest import records, streamdet
from hypothesis import given, settings
from hypothesis import strategies as st

from streamdet.detection.jax_engine import JaxEngine
from streamdet.detection.lockstep import LockstepBatch
from streamdet.detection.numpy_engine import NumpyEngine
from streamdet.detection.staged_stream import StagedStream
from streamdet.model import frontend, network, numpy_network
from streamdet.model.config import FrontendConfig, ModelConfig

FRONT = FrontendConfig(window=100, hop=40, n_fft=128, bands=8)
SMALL = ModelConfig(bands=8, conv=((6, 5, 2), (8, 3, 2)), cells=(8, 8), labels=("gunshot", "drum"))
SHAPES = [
    SMALL,
    replace(SMALL, norm=False, cells=(5,)),
    replace(SMALL, patch=(4, 2), residual=((3, 1), (3, 4)), norm_cells=True),
    replace(SMALL, patch=(3, 2), backgrounds=(50, 200)),
    replace(SMALL, patch=(4, 4), conv=((4, 4, 4),), backgrounds=(9,), cells=(7, 7, 3)),
    replace(SMALL, conv=((6, 1, 1), (5, 7, 3)), residual=((2, 2),), norm_cells=True),
]


@cache
def jax_reference(config, streams):
    """Random weights, biases and scales, and a compiled function from samples to frames and
    logits."""
    params = network.init_params(config, jax.random.key(0))
    rng = np.random.default_rng(1)
    perturbed = lambda x: np.asarray(x) + rng.normal(0, 0.1, x.shape).astype("f")  # noqa: E731
    params = jax.tree.map(perturbed, params)

    def analyse(samples):
        _, frames = frontend.step(FRONT, frontend.init(FRONT, streams), samples)
        _, logits = network.step(config, params, network.init_state(config, streams), frames)
        return frames, logits

    return params, jax.jit(analyse)


@given(
    shape=st.integers(0, len(SHAPES) - 1),
    cuts=st.lists(st.integers(1, 12), min_size=1, max_size=4),
    loudness=st.sampled_from([0.0, 1e-4, 0.1, 1.0]),
)
@settings(max_examples=50, deadline=None)
def test_numpy_gives_what_jax_gives_for_any_network_in_any_blocks(shape, cuts, loudness):
    config, streams = SHAPES[shape], 1 + shape % 3
    params, analyse = jax_reference(config, streams)
    hop = FRONT.hop * config.stride
    samples = np.random.default_rng(2).normal(0, loudness, (streams, hop * 48)).astype("f")
    frames, logits = analyse(samples)
    ready, state, at = (
        numpy_network.prepare_weights(FRONT, config, params),
        numpy_network.init(FRONT, config, streams),
        0,
    )
    parts = []
    for cut in cuts:
        block = samples[:, at * hop : (at + cut) * hop]
        state, *outputs = numpy_network.step(ready, state, block)
        assert all(x.dtype == np.float32 for x in outputs)
        parts.append(outputs)
        at += cut
    both = [np.concatenate(x, axis=1) for x in zip(*parts, strict=True)]
    frames, logits = frames[:, : sum(cuts) * config.stride], logits[:, : sum(cuts)]
    np.testing.assert_allclose(both[0], frames, atol=1e-4)
    sigmoid = lambda x: 1.0 / (1.0 + np.exp(-np.asarray(x, "d")))  # noqa: E731
    np.testing.assert_allclose(sigmoid(both[1]), sigmoid(logits), atol=1e-5)


def run_stream(stream, samples, sizes):
    frames, at, turn = [], 0, 0
    while at < len(samples):
        frames += stream.feed(samples[at : at + sizes[turn % len(sizes)]])
        at, turn = at + sizes[turn % len(sizes)], turn + 1
    frames += stream.finish()
    return [np.concatenate(column) for column in zip(*frames, strict=True)]


@pytest.fixture(scope="module")
def engines(bundle):
    kinds = [NumpyEngine(bundle, block_frames=n) for n in (1, 2, 32)]
    return [*kinds, JaxEngine(bundle, block_frames=32, pipelined=True)]


@pytest.fixture(scope="module")
def reference(bundle, scene):
    return run_stream(JaxEngine(bundle, block_frames=128).stream(), scene, [len(scene)])


@given(kind=st.integers(0, 3), sizes=st.lists(st.integers(1, 90_000), min_size=1, max_size=5))
@settings(max_examples=12, deadline=None)
def test_the_shipped_detector_scores_the_same_in_every_form(engines, scene, reference, kind, sizes):
    found = run_stream(engines[kind].stream(), scene, sizes)
    for a, b, most in zip(found, reference, (1e-5, 1e-3, 1e-5, 1e-4), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a, b, atol=most)


def test_a_pipelined_stream_ends_where_a_plain_one_does(engines, scene):
    for length in (0, 1, 639, 640, 641, 20_480, 20_481):
        parts = [engine.stream() for engine in engines[2:]]
        assert isinstance(parts[1], StagedStream)
        counts = [
            sum(len(f.scores) for f in part.feed(scene[:length]) + part.finish()) for part in parts
        ]
        assert counts == [-(-length // 640)] * 2


def test_an_error_in_a_stage_is_raised_by_feed(bundle):
    def broken(state, x):
        raise ArithmeticError("no luck")

    grid = NumpyEngine(bundle, block_frames=1).grid
    passing = lambda state, x: (state, x)  # noqa: E731
    stream = StagedStream(grid, grid.frame, [passing, broken], [0, 0], list, max_in_flight=1)
    with pytest.raises(ArithmeticError, match="no luck"):
        stream.feed(np.zeros(6_400, "f"))


def test_the_streams_of_an_engine_do_not_affect_each_other(bundle, scene):
    both = np.stack([scene[: 2 * 20_480], scene[20_480 : 3 * 20_480]])
    for kind in (NumpyEngine, JaxEngine):
        engine, alone = (kind(bundle, streams=n, block_frames=32) for n in (2, 1))
        state, seen = engine.initial_state(), []
        for at in (0, 20_480):
            state, frames = engine.step(state, both[:, at : at + 20_480])
            seen.append(frames)
        for i in range(2):
            mine = np.concatenate([frames[i].scores for frames in seen])
            np.testing.assert_allclose(
                mine, run_stream(alone.stream(), both[i], [9_000])[0], atol=1e-5
            )
    with pytest.raises(ValueError, match="one stream"):
        engine.stream()


def test_every_platform_prints_the_same_events(wav):
    events = []
    for platform in ("auto", "numpy", "cpu"):
        done = streamdet("file", wav, "--platform", platform)
        assert done.returncode == 0, done.stderr
        events.append(records(done.stdout))
    assert len(events[0]) == 3
    for found in events[1:]:
        for a, b in zip(found, events[0], strict=True):
            assert a.pop("score") == pytest.approx(b["score"], abs=1.1e-4)
            assert a.pop("labels") == pytest.approx(b["labels"], abs=1.1e-4)
            assert a.items() <= b.items()


def test_a_missing_platform_is_a_one_line_error(wav):
    if any(d.platform == "tpu" for d in jax.devices()):
        pytest.skip("there is a TPU here")
    done = streamdet("file", wav, "--platform", "tpu")
    assert done.returncode == 2
    assert done.stderr.startswith(b"streamdet: --platform tpu: JAX finds no tpu on this machine")
    assert done.stderr.count(b"\n") == 1


def test_files_of_a_batch_give_the_events_that_they_give_alone(tmp_path, scene):
    import soundfile

    paths = [tmp_path / f"{i}.wav" for i in range(5)]
    for i, path in enumerate(paths):
        soundfile.write(path, scene[i * 20_000 : (i + 3) * 60_000], 16_000)
    paths.insert(2, tmp_path / "missing.wav")
    alone = streamdet("file", *paths, "--platform", "numpy", "--operating-point", "sensitive")
    batched = streamdet("file", *paths, "--batch", "2", "--operating-point", "sensitive")
    assert alone.returncode == batched.returncode == 2
    assert batched.stderr == alone.stderr
    a, b = (records(done.stdout) for done in (alone, batched))
    assert len(a) > 5
    assert [(e["source"], e["onset_s"], e["rounds"], e["id"]) for e in a] == [
        (e["source"], e["onset_s"], e["rounds"], e["id"]) for e in b
    ]


def test_an_error_in_a_step_is_raised_in_every_stream(bundle):
    from threading import Thread

    class BrokenEngine(NumpyEngine):
        def step_rows(self, state, samples, rows, fresh):
            raise ArithmeticError("no luck")

    batch, seen = LockstepBatch(BrokenEngine(bundle, streams=2, block_frames=1)), []

    def feed(stream):
        try:
            stream.feed(np.zeros(640, "f"))
        except ArithmeticError as error:
            seen.append(str(error))
        finally:
            stream.close()

    threads = [Thread(target=feed, args=(stream,)) for stream in (batch.stream(), batch.stream())]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert seen == ["no luck", "no luck"]


def test_numpy_refuses_a_batch(wav):
    done = streamdet("file", wav, wav, "--platform", "numpy", "--batch", "2")
    assert done.returncode == 2
    assert done.stderr.startswith(b"streamdet: --batch: numpy analyses one file at a time")
