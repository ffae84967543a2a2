"""Shared fixtures: the command line as a user runs it, scenes, and real servers."""

from __future__ import annotations

import contextlib
import io
import json
import os
import runpy
import shutil
import subprocess
import sys
import time
from ctypes.util import find_library
from pathlib import Path

import numpy as np
import pytest
import soundfile

from streamdet import demo
from streamdet.constants import RATE

pytest_plugins = ["corpus", "taggers", "daemons", "review_pages"]

ROOT = Path(__file__).parent.parent
SHARED = ROOT.parent / "shared"

# Most test time is compilation: tests and the processes they start share compiled functions, and
# in the tests' own processes XLA skips its expensive passes.
CACHE = ROOT / ".cache" / "tests"
os.environ |= {
    "XDG_CACHE_HOME": str(CACHE),
    "JAX_COMPILATION_CACHE_DIR": str(CACHE / "streamdet" / "jax"),
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    "OPENBLAS_NUM_THREADS": "1",
}
import jax  # noqa: E402 - reads the environment when it is imported

jax.config.update("jax_disable_most_optimizations", True)


def need(*programs: str) -> None:
    """Skip where a program is missing; CI installs them all, so there it is a failure."""
    missing = [p for p in programs if shutil.which(p) is None]
    if "pulseaudio" in programs and find_library("portaudio") is None:
        missing.append("libportaudio2")
    if missing and os.environ.get("CI"):
        pytest.fail(f"CI has no {', '.join(missing)}")
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")


def need_shared() -> Path:
    """The recordings' folder; skip, saying so, on a machine without it."""
    if not (SHARED / "data" / "manifest.csv").is_file():
        pytest.skip("no recordings: ../shared/data/manifest.csv is not there")
    return SHARED


def streamdet(
    *args: str | Path, stdin: bytes | None = None, **kwargs
) -> subprocess.CompletedProcess[bytes]:
    """Run the command line in a process of its own."""
    command = [sys.executable, "-m", "streamdet", *map(str, args)]
    return subprocess.run(
        command, input=stdin, capture_output=True, timeout=120, check=False, **kwargs
    )


def train(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run `python -m train` in this process, which has JAX and compiled networks already."""
    out, err, code = io.StringIO(), io.StringIO(), None
    command = ["train", *map(str, arguments)]
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.chdir(ROOT),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        patch.setattr(sys, "argv", command)
        try:
            runpy.run_module("train", run_name="__main__")
        except SystemExit as stop:
            code = stop.code
    returncode = code if isinstance(code, int) else 0
    return subprocess.CompletedProcess(command, returncode, out.getvalue(), err.getvalue())


def records(out: bytes) -> list[dict]:
    """The JSON objects of stdout's lines."""
    return [json.loads(line) for line in out.splitlines()]


def wait_for(check, seconds: float = 20.0):
    """Poll until ``check()`` is true; fail after so many seconds."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := check():
            return found
        time.sleep(0.05)
    pytest.fail(f"nothing after {seconds} s")


@pytest.fixture(scope="session")
def scene() -> np.ndarray:
    return demo.scene()


@pytest.fixture(scope="session")
def bundle():
    from streamdet.model import bundle

    return bundle.load()


@pytest.fixture(scope="session")
def rapid(tmp_path_factory, scene) -> Path:
    """A file of 2.5 s with a shot in it, to be played over and over."""
    path = tmp_path_factory.mktemp("audio") / "rapid.wav"
    soundfile.write(path, scene[round(3.5 * RATE) : 6 * RATE], RATE, subtype="PCM_16")
    return path


@pytest.fixture(scope="session")
def wav(tmp_path_factory, scene) -> Path:
    path = tmp_path_factory.mktemp("audio") / "scene.wav"
    soundfile.write(path, scene, RATE, subtype="PCM_16")
    return path
