"""onnxruntime gives what numpy and JAX give, from the graphs of a bundle."""

import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from conftest import ROOT, records, streamdet
from hypothesis import given, settings
from hypothesis import strategies as st
from test_engines import FRONT, SHAPES, jax_reference, run_stream
from test_verification import SMALL as SMALL_VERIFIER
from test_verification import make_verifier

from streamdet.detection.jax_engine import JaxEngine
from streamdet.detection.onnx_engine import OnnxEngine
from streamdet.detection.staged_stream import StagedStream
from streamdet.detection.window_scorer import create_scorer
from streamdet.model import bundle as bundles
from streamdet.model import numpy_network
from streamdet.model.bundle import BundleError
from streamdet.model.bundle_files import DETECTOR_GRAPH
from streamdet.model.config import VerifierConfig
from streamdet.model.numpy_verifier import NumpyVerifier
from streamdet.model.onnx_network import OnnxDetector, OnnxVerifier
from streamdet.pipeline import engine_choice
from streamdet.pipeline.platform import Platform, PlatformError
from train.onnx.detector_graph import build_detector_graph
from train.onnx.verifier_graphs import build_encoder_graph, build_head_graph


@pytest.fixture(scope="module")
def detectors(tmp_path_factory):
    """Both runtimes for each of the shapes."""
    folder, pairs = tmp_path_factory.mktemp("graphs"), []
    for i, config in enumerate(SHAPES):
        params, _ = jax_reference(config, 1 + i % 3)
        (folder / f"{i}.onnx").write_bytes(build_detector_graph(config, params, "digest"))
        onnx = OnnxDetector(config, folder / f"{i}.onnx", "digest")
        pairs.append((numpy_network.prepare_weights(FRONT, config, params), onnx))
    return pairs


@given(
    shape=st.integers(0, len(SHAPES) - 1),
    cuts=st.lists(st.integers(1, 12), min_size=1, max_size=4),
)
@settings(max_examples=50, deadline=None)
def test_a_graph_gives_what_numpy_gives_for_any_network_in_any_blocks(detectors, shape, cuts):
    config, streams = SHAPES[shape], 1 + shape % 3
    weights, onnx = detectors[shape]
    rng = np.random.default_rng(3)
    one = other = numpy_network.init(FRONT, config, streams)
    for cut in cuts:
        size = (streams, cut * config.stride, config.bands)
        frames = rng.normal(size=size).astype(np.float32)
        one, expected = numpy_network.run_network(weights, one, frames)
        other, logits = onnx.run(other, frames)
        assert logits.dtype == np.float32
        np.testing.assert_allclose(logits, expected, atol=1e-4)


@pytest.mark.parametrize("config", [SMALL_VERIFIER, VerifierConfig()])
def test_the_graphs_of_a_verifier_give_what_numpy_gives(config, tmp_path):
    params = make_verifier(config).params
    encoder, head = tmp_path / "encoder.onnx", tmp_path / "head.onnx"
    encoder.write_bytes(build_encoder_graph(config, params, "digest"))
    head.write_bytes(build_head_graph(config, params, "digest"))
    onnx, in_numpy = OnnxVerifier(encoder, head, "digest"), NumpyVerifier(config, params)
    rng = np.random.default_rng(1)
    for ticks in (config.window, config.window + 5):
        frames = rng.normal(size=(ticks * config.stride, config.bands)).astype(np.float32)
        features = in_numpy.encode(frames)
        np.testing.assert_allclose(onnx.encode(frames), features, atol=1e-5)
    length = config.window - sum(config.reach)
    windows = np.stack([features[:length], features[3 : 3 + length], -features[:length]])
    np.testing.assert_allclose(onnx.score(windows), in_numpy.score(windows), atol=1e-5)


@pytest.fixture(scope="module")
def reference(bundle, scene):
    return run_stream(JaxEngine(bundle, block_frames=128).stream(), scene, [len(scene)])


@given(
    block=st.sampled_from([1, 7, 64]),
    pipelined=st.booleans(),
    sizes=st.lists(st.integers(1, 90_000), min_size=1, max_size=5),
)
@settings(max_examples=12, deadline=None)
def test_the_shipped_detector_scores_as_in_jax(bundle, scene, reference, block, pipelined, sizes):
    stream = OnnxEngine(bundle, block_frames=block, pipelined=pipelined).stream()
    assert isinstance(stream, StagedStream) is pipelined
    found = run_stream(stream, scene, sizes)
    stream.close()
    for a, b, most in zip(found, reference, (1e-5, 1e-3, 1e-5, 1e-4), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a, b, atol=most)


def test_every_shipped_detector_has_the_graphs_of_its_weights(bundle):
    for name in ("third", "tiny"):
        shipped = bundles.load(bundles.ZOO / name)
        assert shipped.has_graphs
        engine = engine_choice.file_engine(shipped, Platform.onnx)
        assert engine.onnx
        scorer = engine_choice.scorer_for(shipped, engine)
        assert (scorer is not None) is (shipped.verifier is not None)
    log_mel = np.random.default_rng(1).normal(size=(200, 4, 64)).astype(np.float32)
    onnx, in_numpy = create_scorer(bundle, onnx=True), create_scorer(bundle)
    starts = [0, 14, 28, 120]
    np.testing.assert_allclose(
        onnx.score_windows(log_mel, starts), in_numpy.score_windows(log_mel, starts), atol=1e-5
    )


def test_files_of_five_minutes_use_onnxruntime_where_it_and_the_graphs_are(bundle, monkeypatch):
    assert engine_choice.file_engine(bundle, seconds=600.0).onnx
    assert engine_choice.scan_engine(bundle, Platform.auto).onnx
    assert not engine_choice.file_engine(bundle, seconds=60.0).onnx
    assert not engine_choice.live_engine(bundle).onnx
    plain = replace(bundle, graphs={})
    assert not engine_choice.file_engine(plain, seconds=600.0).onnx
    with pytest.raises(PlatformError, match="has no ONNX graphs"):
        engine_choice.file_engine(plain, Platform.onnx)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert not engine_choice.file_engine(bundle, seconds=600.0).onnx
    with pytest.raises(PlatformError, match="pip install onnxruntime"):
        engine_choice.live_engine(bundle, Platform.onnx)


def test_the_command_line_gives_the_same_events(wav):
    found = [
        records(streamdet("file", wav, "--platform", platform).stdout)
        for platform in ("onnx", "numpy")
    ]
    assert [e["onset_s"] for e in found[0]] == [e["onset_s"] for e in found[1]]
    assert [e["score"] for e in found[0]] == pytest.approx([e["score"] for e in found[1]], abs=1e-4)


def test_a_graph_that_is_damaged_or_of_other_weights_is_one_line(tmp_path, wav):
    mine = tmp_path / "mine"
    shutil.copytree(bundles.ZOO / "third", mine)
    shutil.copy(bundles.ZOO / "tiny" / DETECTOR_GRAPH, mine)
    with pytest.raises(BundleError, match="made from other weights"):
        OnnxEngine(bundles.load(mine))
    done = streamdet("file", wav, "--model", mine, "--platform", "onnx")
    assert (done.returncode, done.stderr.count(b"\n")) == (2, 1)
    assert b"train graphs" in done.stderr
    graphs = subprocess.run(
        [sys.executable, "-m", "train", "graphs", str(mine)],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert graphs.stdout.count("\n") == 3
    assert streamdet("file", wav, "--model", mine, "--platform", "onnx").returncode == 0
    (mine / DETECTOR_GRAPH).write_bytes(b"no graph")
    done = streamdet("file", wav, "--model", mine, "--platform", "onnx")
    assert (done.returncode, done.stderr.count(b"\n")) == (2, 1)
    assert b"damaged" in done.stderr
