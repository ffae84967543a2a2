"""A daemon with 32 replayed streams at real pace for an hour: is its memory flat, is nothing lost,
what does a stream cost?

`python -m benchmarks soak --minutes 60`. The slope of resident memory is that of a line through
its means over half a minute, without the first tenth of the time; its interval is 95 %, by the
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

import numpy as np
import soundfile

from benchmarks.measure import print_json, rounded
from benchmarks.onset import cpu_seconds
from streamdet import demo
from streamdet.constants import RATE

STREAMS, MINUTES, LOOK_S, MEAN_S = 32, 60.0, 2.0, 30.0
PORT = 9478
CORES, ENVIRONMENT = None, {}


def configuration(scene: Path, spool: Path) -> str:
    """So many sources that play the scene over and over."""
    head = f'[http]\naddress = "127.0.0.1:{PORT}"\n[spool]\nfolder = "{spool}"\n'
    tables = [
        f'[[sources]]\nname = "stream {i}"\nfile = "{scene}"\nloop = true\n' for i in range(STREAMS)
    ]
    return head + "".join(tables)


def resident(pid: int) -> int:
    """Bytes of memory, those of shared files left out: they come and go as the system likes."""
    text = Path(f"/proc/{pid}/status").read_text()
    return 1024 * int(re.findall(r"RssAnon:\s+(\d+)", text)[0])


def slope(times: np.ndarray, values: np.ndarray) -> tuple[float, float]:
    """The slope of a line through the points, and half of its 95 % interval."""
    centred = times - times.mean()
    spread = float(np.sum(centred**2))
    found = float(np.sum(centred * values)) / spread
    rest = values - values.mean() - found * centred
    error = np.sqrt(float(np.sum(rest**2)) / max(1, len(times) - 2) / spread)
    return found, 2.0 * float(error)


def means(looks: list[tuple[float, int]]) -> tuple[np.ndarray, np.ndarray]:
    """Hours and bytes: the means of half a minute each, behind the first tenth."""
    last = looks[-1][0]
    rows: dict[int, list[tuple[float, int]]] = {}
    for at, size in looks:
        if at >= 0.1 * last:
            rows.setdefault(int(at // MEAN_S), []).append((at, size))
    points = np.array([np.mean(row, axis=0) for row in rows.values()])
    return points[:, 0] / 3600.0, points[:, 1]


def main() -> None:
    """Print what was found as JSON."""
    minutes = float(os.environ.get("SOAK_MINUTES", MINUTES))
    with tempfile.TemporaryDirectory() as folder:
        scene, config = Path(folder) / "scene.wav", Path(folder) / "soak.toml"
        soundfile.write(scene, demo.scene(), RATE, subtype="PCM_16")
        config.write_text(configuration(scene, Path(folder) / "spool"))
        command = [sys.executable, "-m", "streamdet", "listen", "--config", str(config)]
        with (Path(folder) / "events.jsonl").open("wb") as out:
            daemon = subprocess.Popen(command, stdout=out, stderr=subprocess.DEVNULL)
            try:
                found = watched(daemon.pid, minutes * 60.0)
            finally:
                daemon.terminate()
                daemon.wait(30)
        lines = (Path(folder) / "events.jsonl").read_text().splitlines()
    heard = [e["source"] for e in map(json.loads, lines) if e["phase"] == "final"]
    counts = [heard.count(f"stream {i}") for i in range(STREAMS)]
    print_json({**found, "events_of_a_stream": [min(counts), max(counts)]})


def watched(pid: int, seconds: float) -> dict[str, object]:
    """Look at a daemon for so long."""
    began, cpu = time.monotonic(), cpu_seconds(pid)
    looks: list[tuple[float, int]] = []
    while (at := time.monotonic() - began) < seconds:
        looks.append((at, resident(pid)))
        time.sleep(LOOK_S)
    spent = cpu_seconds(pid) - cpu
    with urllib.request.urlopen(f"http://127.0.0.1:{PORT}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    hours, sizes = means(looks)
    grows, either_way = slope(hours, sizes)
    audio = _sum(text, "streamdet_audio_seconds_total")
    return {
        "streams": STREAMS,
        "minutes": rounded(seconds / 60.0),
        "memory_mb": [rounded(float(s) / 1e6) for s in (sizes[0], sizes.min(), sizes.max())],
        "kb_an_hour": rounded(grows / 1e3),
        "kb_an_hour_either_way": rounded(either_way / 1e3),
        "audio_hours": rounded(audio / 3600.0),
        "lost_s": rounded(_sum(text, "streamdet_dropped_audio_seconds_total")),
        "reconnects": _sum(text, "streamdet_source_reconnects_total"),
        "share_of_core_a_stream": rounded(spent / seconds / STREAMS),
        "late_99_s": _quantile(text, "streamdet_detection_latency_seconds", 0.99),
        "hours_and_mb": [[rounded(float(h)), rounded(float(s) / 1e6, 5)] for h, s in
                         zip(hours, sizes, strict=True)],
    }  # fmt: skip


def _sum(text: str, name: str) -> float:
    return sum(float(v) for v in re.findall(rf"^{name}{{.*}} (\S+)$", text, re.MULTILINE))


def _quantile(text: str, name: str, share: float) -> float:
    """The upper edge of the bucket in which this share of a histogram over all sources ends."""
    rows = re.findall(rf'^{name}_bucket{{le="([^"]+)".*}} (\S+)$', text, re.MULTILINE)
    sums: dict[float, float] = {}
    for edge, count in rows:
        sums[float(edge)] = sums.get(float(edge), 0.0) + float(count)
    whole = max(sums.values(), default=0.0)
    return min((edge for edge, count in sums.items() if count >= share * whole), default=0.0)


if __name__ == "__main__":
    main()
