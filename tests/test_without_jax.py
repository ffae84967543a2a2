"""streamdet runs without JAX and Flax, as deployments install it."""

import subprocess
import sys

import pytest
from conftest import ROOT, records

from streamdet import demo

WITHOUT = (
    "import sys\n"
    "sys.modules.update(dict.fromkeys(('jax', 'flax', 'optax', 'orbax', 'scipy')))\n"
    "from streamdet.cli.main import run\n"
    "run()\n"
)
"""A module that is None in `sys.modules` can't be imported."""


def without_jax(*args):
    command = [sys.executable, "-c", WITHOUT, *map(str, args)]
    return subprocess.run(command, capture_output=True, timeout=120, check=False)


def test_files_the_self_test_and_live_sources_need_no_jax():
    done = without_jax("file", demo.PATH, "--format", "jsonl")
    assert done.returncode == 0, done.stderr
    assert [e["onset_s"] for e in records(done.stdout)] == pytest.approx(demo.ONSETS_S, abs=0.1)
    assert without_jax("selftest").returncode == 0
    live = ("listen", "--file", demo.PATH, "--no-realtime", "--metrics", "off", "--phase", "final")
    assert sum(e["verified"] for e in records(without_jax(*live).stdout)) == 3


def test_a_scan_needs_no_jax(tmp_path):
    table = tmp_path / "table.jsonl"
    done = without_jax(
        "scan", demo.PATH, "--manifest", tmp_path / "scan.db", "--output", table, "--jobs", "1"
    )
    assert done.returncode == 0, done.stderr
    assert len(records(table.read_bytes())) == 3


@pytest.mark.parametrize(
    "args",
    [
        ("file", demo.PATH, "--platform", "cpu"),
        ("selftest", "--platform", "cpu"),
        ("file", demo.PATH, "--model", ROOT / "train/zoo/audioset-lstm"),
    ],
)
def test_what_needs_jax_says_so_in_one_line(args):
    done = without_jax(*args)
    assert done.returncode == 2
    assert done.stderr.count(b"\n") == 1
    assert b"pip install jax flax" in done.stderr
