"""From a shot's onset in a live stream to the event on stdout, and what listening costs meanwhile.

A real `streamdet listen` hears a PulseAudio null sink into which blasts are played, some louder,
some fainter, over noise. An event's ``time`` is when its onset was in the stream, by the device's
anchor; it is set against the moment that its line arrived. What part of that is waiting for audio
follows from the samples alone: how many had to be heard behind the onset.
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

from benchmarks.measure import print_json, quantiles, rounded
from benchmarks.pulse import sound_server
from streamdet.audio.source import Block
from streamdet.constants import RATE
from streamdet.detection.decision import DecisionConfig
from streamdet.model import bundle
from streamdet.pipeline import engine_choice
from streamdet.pipeline.source_pipeline import SourcePipeline
from streamdet.synth import muzzle_blast

SHOTS, APART_S = 60, 1.5
CORES, ENVIRONMENT = None, {}


def scene() -> np.ndarray:
    """Shots at slightly uneven moments over faint noise, ``(n,) float32`` at 16 kHz."""
    rng = np.random.default_rng(7)
    made = rng.normal(0, 1e-3, round((SHOTS + 2) * APART_S * RATE)).astype(np.float32)
    for i in range(SHOTS):
        at = round(((i + 1) * APART_S + rng.uniform(0, 0.2)) * RATE)
        blast = muzzle_blast(rng) * rng.uniform(0.1, 0.9)
        made[at : at + len(blast)] += blast
    return np.clip(made, -1, 1).astype(np.float32)


def listened(platform: str, environment: dict[str, str], played: Path) -> dict[str, object]:
    """Latencies, the share of a core and the memory of `listen` while the file is played."""
    command = [
        sys.executable, "-u", "-m", "streamdet", "listen", "--metrics", "off",
        "--phase", "onset", "--platform", platform,
    ]  # fmt: skip
    late: list[float] = []
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as daemon:
        time.sleep(4.0)
        family = [daemon.pid, *children(daemon.pid)]  # a device is read by a process of its own
        before, began = sum(map(cpu_seconds, family)), time.monotonic()
        player = subprocess.Popen(["paplay", "--device=virt", str(played)], env=environment)
        os.set_blocking(daemon.stdout.fileno(), False)  # pyright: ignore[reportOptionalMemberAccess]
        while player.poll() is None:
            line = daemon.stdout.readline()  # pyright: ignore[reportOptionalMemberAccess]
            if line:
                said = datetime.fromisoformat(json.loads(line)["time"]).timestamp()
                late.append(time.time() - said)
            else:
                time.sleep(0.0005)
        seconds = time.monotonic() - began
        spent = sum(map(cpu_seconds, family)) - before
        peak = sum(_status(pid, "VmHWM") for pid in family)
        daemon.terminate()
    return {
        "shots": SHOTS,
        "told": len(late),
        **quantiles(late),
        "share_of_core": rounded(spent / seconds, 3),
        "peak_mb": rounded(peak / 1e6, 3),
    }


def waited(samples: np.ndarray) -> list[float]:
    """Seconds of sound behind each onset that were heard before it was told, by samples alone."""
    detector = bundle.load()
    engine = engine_choice.live_engine(detector)
    threshold = detector.operating_points[detector.default_point].threshold
    road = SourcePipeline(engine, DecisionConfig(threshold), RATE, 1)
    late: list[float] = []
    for at in range(0, len(samples) - engine.block, engine.block):
        block = samples[at : at + engine.block, None]
        found = road.feed(Block(at, block))
        late += [(at + engine.block - d.onset) / RATE for d in found if d.phase == "onset"]
    return late


def cpu_seconds(pid: int) -> float:
    """What a process has used of all cores."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def children(pid: int) -> list[int]:
    """The processes that one has begun."""
    lists = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for path in lists for child in path.read_text().split()]


def _status(pid: int, name: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) * 1024
    return 0


def main() -> None:
    """Print what was found as JSON."""
    samples = scene()
    found: dict[str, object] = {"waiting_for_audio": quantiles(waited(samples))}
    if shutil.which("pulseaudio") is None or not Path("/proc").is_dir():
        found["missing"] = "no PulseAudio here: not listened"
    else:
        with tempfile.TemporaryDirectory() as folder:
            played = Path(folder) / "shots.wav"
            soundfile.write(played, samples, RATE, subtype="PCM_16")
            for platform in ("numpy", "cpu"):
                home = Path(folder) / platform
                home.mkdir()
                with sound_server(home) as (environment, _):
                    found[platform] = listened(platform, environment, played)
    print_json(found)


if __name__ == "__main__":
    main()
