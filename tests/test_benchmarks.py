"""What the benchmarks compare with is the same network, and the page is what they found."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from conftest import ROOT

from benchmarks import __main__ as bench
from benchmarks import references, report, roofline
from streamdet.model import bundle as bundles
from streamdet.model.config import FrontendConfig, ModelConfig


@pytest.mark.parametrize("streams", [1, 3])
def test_every_runtime_has_the_shipped_network(bundle, streams):
    frames = np.random.default_rng(0).normal(0, 1, (streams, 24, 64)).astype("f")
    found = []
    for step in (
        references.by_onnxruntime(bundle, streams, 8),
        references.by_jax(bundle, streams),
        references.by_numpy(bundle, streams),
    ):
        parts = [step(frames[:, at : at + 8]) for at in (0, 8, 16)]
        found.append(np.concatenate(parts, axis=1))
    for other in found[1:]:
        np.testing.assert_allclose(other, found[0], atol=1e-4)


def test_the_first_detector_is_exported_too():
    first = bundles.load(bundles.ZOO / "first")
    frames = np.random.default_rng(0).normal(0, 1, (1, 8, 64)).astype("f")
    onnx, jax = (
        step(frames)
        for step in (references.by_onnxruntime(first, 1, 8), references.by_jax(first, 1))
    )
    np.testing.assert_allclose(onnx, jax, atol=1e-4)


def test_operations_are_counted_as_by_hand():
    front = FrontendConfig(sample_rate=1_000, hop=10, window=20, n_fft=32, bands=4)
    model = ModelConfig(bands=4, conv=((3, 5, 2),), cells=(2,), labels=("gunshot",))
    work = roofline.operations(front, model)
    assert work["encoder"] == 50 * 2 * 5 * 4 * 3
    assert work["recurrent head"] == 50 * (2 * (3 + 2) * 8 + 2 * 2)
    patched = replace(model, patch=(2, 1), backgrounds=(9,))
    assert roofline.operations(front, patched)["encoder"] == 50 * 3 * 2 * 5 * (2 * 2) * 3


def test_the_page_is_what_the_benchmarks_found():
    assert report.PAGE.read_text() == report.page(report.results())


def test_the_readme_has_the_targets_as_they_were_measured():
    assert report.table_of_targets() in (ROOT / "README.md").read_text()


def test_each_benchmark_is_a_file_with_a_section():
    assert {*bench.NAMES, *bench.LONG} == set(report.SECTIONS)
    for name in report.SECTIONS:
        assert (ROOT / "benchmarks" / f"{name}.py").is_file()


def test_an_unknown_benchmark_is_one_clear_line():
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "speed"], cwd=ROOT, capture_output=True, check=False
    )
    assert done.returncode == 2
    assert b"no benchmark speed; there are: start, latency" in done.stderr
