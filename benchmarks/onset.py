"""Latency from a shot's onset in a live stream to the event on stdout, and the cost of listening.

`streamdet listen` records a PulseAudio null sink into which shots of several levels are played over
noise. The latency is the difference between an event's ``time``, which is the time of the onset by
the device's clock, and the arrival of its line. The part of it that is waiting for audio follows
from the samples: how many after the onset are needed before the event.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path

import numpy as np
import soundfile

from benchmarks.measure import print_json, round_digits, summarise_latency
from streamdet.audio.source import Block
from streamdet.constants import RATE
from streamdet.detection.decision import DecisionConfig
from streamdet.model import bundle
from streamdet.pipeline import engine_choice
from streamdet.pipeline.source_pipeline import SourcePipeline
from streamdet.synth import muzzle_blast
from tests.pulse import sound_server

SHOTS, APART_S = 60, 1.5
CORES, ENVIRONMENT = None, {}


def make_scene() -> np.ndarray:
    """Make a scene of shots at uneven intervals over faint noise, ``(n,) float32`` at 16 kHz."""
    rng = np.random.default_rng(7)
    scene = rng.normal(0, 1e-3, round((SHOTS + 2) * APART_S * RATE)).astype(np.float32)
    for i in range(SHOTS):
        start = round(((i + 1) * APART_S + rng.uniform(0, 0.2)) * RATE)
        blast = muzzle_blast(rng) * rng.uniform(0.1, 0.9)
        scene[start : start + len(blast)] += blast
    return np.clip(scene, -1, 1).astype(np.float32)


def measure_listen(platform: str, environment: dict[str, str], played: Path) -> dict[str, object]:
    """Measure latencies, CPU share and memory of `listen` while the file is played."""
    command = [
        sys.executable, "-u", "-m", "streamdet", "listen", "--metrics", "off",
        "--phase", "onset", "--platform", platform,
    ]  # fmt: skip
    latencies: list[float] = []
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as daemon:
        time.sleep(4.0)
        processes = [
            daemon.pid,
            *list_children(daemon.pid),
        ]  # a child process reads the device
        before, began = sum(map(cpu_seconds, processes)), time.monotonic()
        player = subprocess.Popen(["paplay", "--device=virt", str(played)], env=environment)
        os.set_blocking(daemon.stdout.fileno(), False)  # pyright: ignore[reportOptionalMemberAccess]
        while player.poll() is None:
            line = daemon.stdout.readline()  # pyright: ignore[reportOptionalMemberAccess]
            if line:
                onset = datetime.fromisoformat(json.loads(line)["time"]).timestamp()
                latencies.append(time.time() - onset)
            else:
                time.sleep(0.0005)
        seconds = time.monotonic() - began
        spent = sum(map(cpu_seconds, processes)) - before
        peak = sum(_status(pid, "VmHWM") for pid in processes)
        daemon.terminate()
    return {
        "shots": SHOTS,
        "events": len(latencies),
        **summarise_latency(latencies),
        "share_of_core": round_digits(spent / seconds, 3),
        "peak_mb": round_digits(peak / 1e6, 3),
    }


def measure_waiting(samples: np.ndarray) -> list[float]:
    """Compute the seconds of audio after each onset that the pipeline needed to report it."""
    detector = bundle.load()
    engine = engine_choice.live_engine(detector)
    threshold = detector.operating_points[detector.default_point].threshold
    pipeline = SourcePipeline(engine, DecisionConfig(threshold), RATE, 1)
    waits: list[float] = []
    for start in range(0, len(samples) - engine.block, engine.block):
        block = samples[start : start + engine.block, None]
        detections = pipeline.feed(Block(start, block))
        end = start + engine.block
        waits += [(end - d.onset) / RATE for d in detections if d.phase == "onset"]
    return waits


def cpu_seconds(pid: int) -> float:
    """The CPU time that a process has used, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def list_children(pid: int) -> list[int]:
    """List the child processes of a process."""
    lists = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for path in lists for child in path.read_text().split()]


def _status(pid: int, name: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) * 1024
    return 0


def main() -> None:
    """Print the results as JSON."""
    samples = make_scene()
    results: dict[str, object] = {"waiting_for_audio": summarise_latency(measure_waiting(samples))}
    if shutil.which("pulseaudio") is None or not Path("/proc").is_dir():
        results["missing"] = "Not measured: PulseAudio is not installed"
    else:
        with tempfile.TemporaryDirectory() as folder:
            played = Path(folder) / "shots.wav"
            soundfile.write(played, samples, RATE, subtype="PCM_16")
            for platform in ("numpy", "cpu"):
                home = Path(folder) / platform
                home.mkdir()
                with sound_server(home) as (environment, _):
                    results[platform] = measure_listen(platform, environment, played)
    print_json(results)


if __name__ == "__main__":
    main()
