"""Helpers of all benchmarks: timing, summaries, and child processes on given cores."""

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


def time_calls(work: Callable[[], Any], repeats: int, warm: int = 3) -> list[float]:
    """Time calls of ``work`` in seconds, after ``warm`` calls that are not counted."""
    for _ in range(warm):
        work()
    spent = []
    for _ in range(repeats):
        began = time.perf_counter()
        work()
        spent.append(time.perf_counter() - began)
    return spent


def summarise(values: Sequence[float], digits: int = 4) -> dict[str, float]:
    """Summarise values by median, minimum, maximum and count."""
    summary = {"median": statistics.median(values), "min": min(values), "max": max(values)}
    return {**{k: round_digits(v, digits) for k, v in summary.items()}, "n": len(values)}


def summarise_latency(seconds: Sequence[float]) -> dict[str, float]:
    """Summarise durations in seconds by median and 99th percentile in milliseconds."""
    spent = np.array(seconds) * 1e3
    summary = {"median_ms": np.median(spent), "p99_ms": np.quantile(spent, 0.99)}
    return {**{k: round_digits(float(v)) for k, v in summary.items()}, "n": len(spent)}


def round_digits(value: float, digits: int = 4) -> float:
    """Round to ``digits`` significant digits."""
    return float(f"{value:.{digits}g}")


def run_python(args: Sequence[str], cores: int = 1, **environment: str) -> tuple[float, str, str]:
    """Run Python in a process of its own on ``cores`` cores; return (wall s, stdout, stderr).

    Raises SystemExit if the process fails.
    """
    limits = ONE_CORE if cores == 1 else {}
    began = time.perf_counter()
    with limit_cores(cores):
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
def limit_cores(count: int) -> Iterator[None]:
    """Limit this process, and the children it starts, to the last ``count`` of its cores."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, set(sorted(before)[-count:]))
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


WITH_PEAK = ("-m", "benchmarks.children.peak_memory")
"""Arguments of Python to run a streamdet command that reports its peak memory."""


def run_streamdet(args: Sequence[str], cores: int = 1) -> tuple[float, float]:
    """Run a streamdet command; return its wall time in seconds and its peak memory in MB."""
    wall, _, err = run_python([*WITH_PEAK, *args], cores)
    return wall, int(err.rpartition("peak ")[2]) * 1024 / 1e6


def peak_memory_mb() -> float:
    """The peak memory of this process in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


@contextmanager
def make_long_file(
    seconds: float, rate: int = RATE, channels: int = 1, kind: str = "wav"
) -> Iterator[Path]:
    """Make a temporary file with the three events of the demo scene every two minutes.

    There is faint noise between them. A film has fewer events.
    """
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
            remaining, start = round(seconds * rate), 0
            while remaining > 0:  # by seconds: long Vorbis writes overflow libsndfile's stack
                second = block[start : start + rate][:remaining]
                sink.write(second)
                remaining -= len(second)
                start = (start + len(second)) % len(block)
        yield path


def describe_machine() -> dict[str, Any]:
    """Describe the CPU, the versions and the commit of a measurement."""
    head = _run_git("rev-parse", "--short=12", "HEAD")
    changed = _run_git("status", "--porcelain", "--untracked-files=no", "--", ".", *_GENERATED)
    names = ("jax", "numpy", "onnxruntime")
    return {
        "cpu": _cpu_name(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1,
        "python": platform.python_version(),
        **{name: version(name) for name in names},
        "commit": f"{head}-dirty" if changed else head,
    }


_GENERATED = (":(exclude)benchmarks/README.md", ":(exclude)benchmarks/results")


def _run_git(*args: str) -> str:
    command = ["git", *args]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    return done.stdout.strip()


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.machine()


def print_json(found: Any) -> None:
    """Print a benchmark's results for the process that runs it."""
    print(json.dumps(found))
