"""What all benchmarks share: timing with its spread, children on cores of their own."""

from __future__ import annotations

import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from streamdet import demo
from streamdet.constants import RATE

ROOT = Path(__file__).parents[1]
ONE_CORE = {"OPENBLAS_NUM_THREADS": "1"}


def seconds_of(work: Callable[[], Any], repeats: int, warm: int = 3) -> list[float]:
    """How long each call takes, after some that do not count."""
    for _ in range(warm):
        work()
    spent = []
    for _ in range(repeats):
        began = time.perf_counter()
        work()
        spent.append(time.perf_counter() - began)
    return spent


def spread(values: Sequence[float], digits: int = 4) -> dict[str, float]:
    """Median, extremes and count of repeats."""
    said = {"median": statistics.median(values), "min": min(values), "max": max(values)}
    return {**{k: rounded(v, digits) for k, v in said.items()}, "n": len(values)}


def quantiles(seconds: Sequence[float]) -> dict[str, float]:
    """Median and 99th percentile in milliseconds."""
    spent = np.array(seconds) * 1e3
    said = {"median_ms": np.median(spent), "p99_ms": np.quantile(spent, 0.99)}
    return {**{k: rounded(float(v)) for k, v in said.items()}, "n": len(spent)}


def rounded(value: float, digits: int = 4) -> float:
    """To so many significant digits."""
    return float(f"{value:.{digits}g}")


def run(args: Sequence[str], cores: int = 1, **environment: str) -> tuple[float, str, str]:
    """(wall seconds, stdout, stderr) of a Python command on so many cores, in a process of its
    own."""
    limits = ONE_CORE if cores == 1 else {}
    began = time.perf_counter()
    with on_cores(cores):
        done = subprocess.run(
            [sys.executable, *args],
            capture_output=True,
            text=True,
            check=False,
            cwd=ROOT,
            env={**os.environ, **limits, **environment},
        )
    wall = time.perf_counter() - began
    if done.returncode:
        raise SystemExit(f"{' '.join(args)}: exit code {done.returncode}\n{done.stderr}")
    return wall, done.stdout, done.stderr


@contextmanager
def on_cores(count: int) -> Iterator[None]:
    """This process, and the children that it starts inside, on the last so many of its cores."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, set(sorted(before)[-count:]))
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


PEAK = """
import resource, sys
from streamdet.cli.main import run
try:
    run()
finally:
    sys.stderr.write(f"\\npeak {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss}")
"""


def streamdet(args: Sequence[str], cores: int = 1) -> tuple[float, float]:
    """(wall seconds, peak MB) of a streamdet command."""
    wall, _, err = run(["-c", PEAK, *args], cores)
    return wall, int(err.rpartition("peak ")[2]) * 1024 / 1e6


def peak_mb() -> float:
    """The most memory that this process has had, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


@contextmanager
def long_file(
    seconds: float, rate: int = RATE, channels: int = 1, kind: str = "wav"
) -> Iterator[Path]:
    """The demo scene's three events every two minutes and faint noise between, which is dense for a
    film, as a file that lasts until it is left."""
    import soxr

    noise = np.random.default_rng(1).normal(0.0, 1e-3, 100 * RATE)
    scene = np.concatenate([demo.scene(), noise.astype(np.float32)])
    if rate != RATE:
        scene = soxr.resample(scene, RATE, rate).astype(np.float32)
    block = np.repeat(scene[:, None], channels, axis=1)
    subtype = "PCM_16" if kind in ("wav", "flac") else None
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"scene.{kind}"
        with soundfile.SoundFile(path, "w", rate, channels, subtype) as sink:
            left, at = round(seconds * rate), 0
            while left > 0:  # by seconds: libsndfile's Vorbis encoder keeps a write on the stack
                second = block[at : at + rate][:left]
                sink.write(second)
                left, at = left - len(second), (at + len(second)) % len(block)
        yield path


def machine() -> dict[str, Any]:
    """What was measured on, and with which versions."""
    head = _git("rev-parse", "--short=12", "HEAD")
    changed = _git("status", "--porcelain", "--untracked-files=no", "--", ".", *_MADE_HERE)
    names = ("jax", "numpy", "onnxruntime")
    return {
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1,
        "python": platform.python_version(),
        **{name: version(name) for name in names},
        "commit": f"{head}-dirty" if changed else head,
    }


_MADE_HERE = (":(exclude)docs/performance.md", ":(exclude)docs/performance")


def _git(*args: str) -> str:
    command = ["git", *args]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    return done.stdout.strip()


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.machine()


def print_json(found: Any) -> None:
    """What a benchmark has found, for who called it."""
    print(json.dumps(found))
