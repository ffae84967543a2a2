"""The shipped scene is the output of its module, and `make demo` finds its events."""

import subprocess

import numpy as np
import pytest
import soundfile
from conftest import ROOT, records, streamdet

from streamdet import demo
from streamdet.constants import RATE
from streamdet.synth import friedlander


def test_the_shipped_file_is_the_scene():
    samples, rate = soundfile.read(demo.PATH, dtype="float32")
    assert rate == RATE
    np.testing.assert_allclose(samples, demo.scene(), atol=1.5 / 32768)


def test_the_demo_prints_its_events_with_their_onsets():
    makefile = (ROOT / "Makefile").read_text()
    assert "streamdet file streamdet/demo/scene.flac --format table" in makefile
    done = streamdet("file", demo.PATH, "--format", "jsonl")
    found = records(done.stdout)
    assert [e["onset_s"] for e in found] == pytest.approx(list(demo.ONSETS_S), abs=0.1)
    assert [e["rounds"] for e in found] == list(demo.ROUNDS)


def test_the_blast_wave_is_friedlanders():
    wave = friedlander(1e-3, 1.0, 0.01, 1_000_000)
    assert wave[0] == 1.0
    assert wave[1_000] == pytest.approx(0.0, abs=1e-9)
    assert wave[1_001:5_000].max() < 0.0
    assert wave[500] == pytest.approx(0.5 * np.exp(-0.5))


def test_make_knows_its_targets():
    for target in ("demo", "test", "lint", "bench", "lock"):
        done = subprocess.run(
            ["make", "--dry-run", target], cwd=ROOT, capture_output=True, check=False
        )
        assert done.returncode == 0
