"""`python -m benchmarks`: speed and memory of the shipped bundle on this machine.

Each row is measured in processes of their own, so that none warms another.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import soundfile

from streamdet import demo
from streamdet.synth import RATE

TEN_MINUTES, THREE_HOURS = 600, 3 * 3_600

_PEAK = """
import resource, sys
from streamdet.cli.main import run
try:
    run()
finally:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    sys.stderr.write(f"peak {peak}")
"""

_LIVE = """
import json, sys, time
import numpy as np
from streamdet.audio.source import Block
from streamdet.cli import options
from streamdet.detect.decision import DecisionConfig
from streamdet.service.road import Road
from streamdet import demo
bundle = options.load_bundle(None)
engine = options.build_engine(bundle, options.LIVE_BLOCK_S)
road = Road(engine, DecisionConfig(0.5), 16_000, 1)
scene = np.tile(demo.scene(), 10)[:, None]
spent = []
for at in range(0, len(scene), engine.block):
    block = Block(at, scene[at : at + engine.block])
    began = time.perf_counter()
    road.feed(block)
    spent.append(time.perf_counter() - began)
spent = np.array(spent[20:]) * 1000
print(json.dumps([engine.block / 16, float(np.median(spent)), float(np.quantile(spent, 0.99))]))
"""


def long_file(folder: Path, seconds: int) -> Path:
    """The demo scene again and again, as a 16 kHz WAV."""
    path = folder / f"{seconds}.wav"
    scene = demo.scene()
    with soundfile.SoundFile(path, "w", RATE, 1, "PCM_16") as sink:
        for _ in range(round(seconds / demo.LENGTH_S)):
            sink.write(scene)
    return path


def run(code: list[str], **environment: str) -> tuple[float, subprocess.CompletedProcess[str]]:
    """(wall seconds, the finished process) of a Python command."""
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, *code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, **environment},
    )
    return time.perf_counter() - began, done


def file_row(path: Path, seconds: int) -> str:
    """Peak memory, time and speed of `streamdet file` over one file."""
    wall, done = run(["-c", _PEAK, "file", str(path), "--output", os.devnull])
    peak = int(done.stderr.rpartition("peak ")[2]) / 1024
    name = "3 h" if seconds == THREE_HOURS else "10 min"
    speed = f"{wall:.1f} s, {seconds / wall:.0f} x real time"
    return f"| file, {name} wav | peak {peak:.0f} MiB | {speed} |"


def main() -> None:
    """Print the table."""
    cores = len(os.sched_getaffinity(0))
    print(f"{platform.machine()}, {cores} cores, Python {platform.python_version()}\n")
    print("| what | | |\n|---|---|---|")
    run(["-m", "streamdet", "selftest"])
    helped = statistics.median(run(["-m", "streamdet", "--help"])[0] for _ in range(5))
    print(f"| streamdet --help | {helped:.2f} s | median of 5 |")
    first = statistics.median(run(["-m", "streamdet", "selftest"])[0] for _ in range(3))
    print(f"| start to a first detection (selftest, warm cache) | {first:.2f} s | median of 3 |")
    block_ms, median, p99 = json.loads(run(["-c", _LIVE])[1].stdout)
    share = median / block_ms
    live = f"median {median:.2f} ms, p99 {p99:.2f} ms"
    print(f"| live, one block of {block_ms:.0f} ms | {live} | {share:.1%} of one core |")
    with tempfile.TemporaryDirectory() as folder:
        for seconds in (TEN_MINUTES, THREE_HOURS):
            print(file_row(long_file(Path(folder), seconds), seconds))


if __name__ == "__main__":
    main()
