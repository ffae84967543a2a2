"""Run a daemon with 32 replayed streams in real time for an hour: memory, lost audio, CPU time.

`python -m benchmarks soak --minutes 60`. The slope of resident memory is that of a line fitted to
its means over 30 s, without the first tenth of the time. Its 95 % interval is computed from the
residuals.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from scipy.stats import linregress

from benchmarks.measure import print_json, round_digits
from benchmarks.onset import cpu_seconds
from streamdet import demo
from streamdet.constants import RATE

STREAMS, MINUTES, SAMPLE_S, MEAN_S = 32, 60.0, 2.0, 30.0
PORT = 9478
CORES, ENVIRONMENT = None, {}


def make_config(scene: Path, spool: Path) -> str:
    """Make a configuration of STREAMS sources that replay the scene in a loop."""
    head = f'[http]\naddress = "127.0.0.1:{PORT}"\n[spool]\nfolder = "{spool}"\n'
    tables = [
        f'[[sources]]\nname = "stream {i}"\nfile = "{scene}"\nloop = true\n' for i in range(STREAMS)
    ]
    return head + "".join(tables)


def resident_memory(pid: int) -> int:
    """Read the resident memory in bytes, without shared files, which the system evicts freely."""
    text = Path(f"/proc/{pid}/status").read_text()
    return 1024 * int(re.findall(r"RssAnon:\s+(\d+)", text)[0])


def fit_slope(times: np.ndarray, values: np.ndarray) -> tuple[float, float]:
    """Fit a line; return its slope and half of the slope's 95 % interval."""
    line: Any = linregress(times, values)
    return float(line.slope), 2.0 * float(line.stderr)


def average_samples(samples: list[tuple[float, int]]) -> tuple[np.ndarray, np.ndarray]:
    """Average (time_s, bytes) over MEAN_S, after the first tenth; return hours and bytes."""
    last = samples[-1][0]
    rows: dict[int, list[tuple[float, int]]] = {}
    for time_s, size in samples:
        if time_s >= 0.1 * last:
            rows.setdefault(int(time_s // MEAN_S), []).append((time_s, size))
    points = np.array([np.mean(row, axis=0) for row in rows.values()])
    return points[:, 0] / 3600.0, points[:, 1]


def main() -> None:
    """Print the results as JSON."""
    minutes = float(os.environ.get("SOAK_MINUTES", MINUTES))
    with tempfile.TemporaryDirectory() as folder:
        scene, config = Path(folder) / "scene.wav", Path(folder) / "soak.toml"
        soundfile.write(scene, demo.scene(), RATE, subtype="PCM_16")
        config.write_text(make_config(scene, Path(folder) / "spool"))
        command = [sys.executable, "-m", "streamdet", "listen", "--config", str(config)]
        with (Path(folder) / "events.jsonl").open("wb") as out:
            daemon = subprocess.Popen(command, stdout=out, stderr=subprocess.DEVNULL)
            try:
                results = watch_daemon(daemon.pid, minutes * 60.0)
            finally:
                daemon.terminate()
                daemon.wait(30)
        lines = (Path(folder) / "events.jsonl").read_text().splitlines()
    sources = [e["source"] for e in map(json.loads, lines) if e["phase"] == "final"]
    counts = [sources.count(f"stream {i}") for i in range(STREAMS)]
    print_json({**results, "events_of_a_stream": [min(counts), max(counts)]})


def watch_daemon(pid: int, seconds: float) -> dict[str, object]:
    """Sample a daemon's memory and CPU time for this time."""
    began, cpu = time.monotonic(), cpu_seconds(pid)
    samples: list[tuple[float, int]] = []
    while (elapsed := time.monotonic() - began) < seconds:
        samples.append((elapsed, resident_memory(pid)))
        time.sleep(SAMPLE_S)
    spent = cpu_seconds(pid) - cpu
    with urllib.request.urlopen(f"http://127.0.0.1:{PORT}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    hours, sizes = average_samples(samples)
    slope, half_interval = fit_slope(hours, sizes)
    audio = _sum(text, "streamdet_audio_seconds_total")
    return {
        "streams": STREAMS,
        "minutes": round_digits(seconds / 60.0),
        "memory_mb": [round_digits(float(s) / 1e6) for s in (sizes[0], sizes.min(), sizes.max())],
        "kb_an_hour": round_digits(slope / 1e3),
        "kb_an_hour_either_way": round_digits(half_interval / 1e3),
        "audio_hours": round_digits(audio / 3600.0),
        "lost_s": round_digits(_sum(text, "streamdet_dropped_audio_seconds_total")),
        "reconnects": _sum(text, "streamdet_source_reconnects_total"),
        "share_of_core_a_stream": round_digits(spent / seconds / STREAMS),
        "late_99_s": _quantile(text, "streamdet_detection_latency_seconds", 0.99),
        "hours_and_mb": [[round_digits(float(h)), round_digits(float(s) / 1e6, 5)] for h, s in
                         zip(hours, sizes, strict=True)],
    }  # fmt: skip


def _sum(text: str, name: str) -> float:
    return sum(float(v) for v in re.findall(rf"^{name}{{.*}} (\S+)$", text, re.MULTILINE))


def _quantile(text: str, name: str, share: float) -> float:
    """The upper edge of the bucket with this quantile of a histogram over all sources."""
    rows = re.findall(rf'^{name}_bucket{{le="([^"]+)".*}} (\S+)$', text, re.MULTILINE)
    sums: dict[float, float] = {}
    for edge, count in rows:
        sums[float(edge)] = sums.get(float(edge), 0.0) + float(count)
    whole = max(sums.values(), default=0.0)
    return min((edge for edge, count in sums.items() if count >= share * whole), default=0.0)


if __name__ == "__main__":
    main()
