"""Response times of the review page with 100,000 events, verdicts included, and memory.

The daemon replays the demo scene in a loop at the same time. Each request uses a new connection,
like a browser's first one.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx
import soundfile

from benchmarks.measure import print_json, round_digits, summarise_latency
from streamdet import demo
from streamdet.detection.event import Detection, Event, ModelId, event_id
from streamdet.store.reader import EventFilter, StoreReader
from streamdet.store.store import EventStore
from streamdet.store.verdict import CAUSES, Verdict

CORES, ENVIRONMENT = 2, {}
EVENTS, REPEATS = 100_000, 40
PORT = 9479
PAGES = {
    "the newest": "/events",
    "not reviewed": "/events?verdict=none",
    "of a source, false": "/events?source=gate&verdict=false",
    "score above 0.9": "/events?min_score=0.9",
    "the live page": "/",
    "a day": "/day",
    "precision, 30 days": "/precision",
    "precision, 365 days": "/precision?days=365",
    "thresholds, 30 days": "/thresholds",
    "thresholds, 365 days": "/thresholds?days=365",
}
LABELS: tuple[str, ...] = (
    "gunshot", "explosion", "fireworks", "thunder", "impact", "drum", "impulsive", "speech",
    "music", "ambience",
)  # fmt: skip
MODEL = ModelId("trial", "1", "ab" * 32)


def fill_store(path: Path, count: int) -> list[str]:
    """Fill a store with ``count`` events of the last year, a third of them reviewed; return ids."""
    rng = random.Random(1)
    store = EventStore(path)
    store._db.execute("PRAGMA synchronous=OFF")
    ids, now = [], time.time()
    for number in range(count):
        score, at = rng.uniform(0.6, 1.0), now - rng.uniform(0, 365) * 86_400
        labels: dict[str, float] = dict.fromkeys(LABELS, score)
        onset = number * 16_000
        d = Detection("final", onset, onset + 6_000, onset + 9_000, 1, score, 0.6, -20.0, labels)
        source = rng.choice(("gate", "yard", "roof", "range"))
        identity = event_id(source, MODEL, onset, at, 16_000)
        curve = [(round(t * 0.04 - 0.5, 2), round(rng.random(), 4)) for t in range(35)]
        store.add(Event(d, identity, source, 16_000, at, MODEL).record(), curve)
        if number % 3 == 0:
            is_true = rng.random() < 0.6
            verdict = Verdict("true") if is_true else Verdict("false", rng.choice(CAUSES))
            store.review(identity, verdict)
        ids.append(identity)
    store.close()
    return ids


def time_request(base: str, path: str, **post: Any) -> float:
    """Time one request over a new connection, in seconds."""
    with httpx.Client(base_url=base, timeout=30) as client:
        began = time.perf_counter()
        if post:
            client.post(path, json=post, headers={"X-Streamdet": "1"}).raise_for_status()
        else:
            client.get(path).raise_for_status()
        return time.perf_counter() - began


def time_oldest_page(path: Path) -> float:
    """Time reading the page of the oldest events from the store, in seconds."""
    reader = StoreReader(path)
    first = reader.page(EventFilter(), 1, after=(0.0, 0)).events[0]
    began = time.perf_counter()
    reader.page(EventFilter(), 25, before=(first.time_s + 86_400 * 3, 0))
    return time.perf_counter() - began


def resident_memory_mb(process: int) -> float:
    """Read the resident memory of a process in MB."""
    text = Path(f"/proc/{process}/status").read_text()
    return round_digits(int(text.split("VmRSS:")[1].split()[0]) / 1024)


def main() -> None:
    """Print the results as JSON."""
    folder = Path(tempfile.mkdtemp())
    ids = fill_store(folder / "events.db", EVENTS)
    soundfile.write(folder / "scene.wav", demo.scene(), 16_000, subtype="PCM_16")
    config = folder / "streamdet.toml"
    config.write_text(
        f'threshold = 0.6\n[store]\npath = "{folder}/events.db"\n'
        "keep_events = 0\nkeep_days = 36500.0\n"
        f'[clips]\nfolder = "{folder}/events-clips"\n[web]\naddress = "127.0.0.1:{PORT}"\n'
        f'[http]\naddress = "127.0.0.1:{PORT + 1}"\n[[sources]]\nname = "gate"\nloop = true\n'
        f'file = "{folder}/scene.wav"\n'
    )
    listen = [sys.executable, "-m", "streamdet", "listen", "--config", str(config)]
    daemon = subprocess.Popen(
        listen, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ}
    )
    base = f"http://127.0.0.1:{PORT}"
    try:
        for _ in range(300):
            try:
                time_request(base, "/events")
                break
            except httpx.TransportError:
                time.sleep(0.1)
        time.sleep(5)
        before = resident_memory_mb(daemon.pid)
        pages = [
            {"page": name, **summarise_latency([time_request(base, path) for _ in range(REPEATS)])}
            for name, path in PAGES.items()
        ]
        between = resident_memory_mb(daemon.pid)
        verdicts = [
            time_request(base, f"/api/events/{event}/verdict", verdict="false", cause="door")
            for event in random.Random(2).sample(ids, 200)
        ]
        for _ in range(5):
            for path in PAGES.values():
                for _ in range(10):
                    time_request(base, path)
        after = resident_memory_mb(daemon.pid)
        metrics = httpx.get(f"http://127.0.0.1:{PORT + 1}/metrics").text
        lost = [line for line in metrics.splitlines() if "dropped_audio_seconds_total{" in line]
    finally:
        daemon.terminate()
        daemon.wait(20)
    print_json(
        {
            "events": EVENTS,
            "store_mb": round_digits((folder / "events.db").stat().st_size / 2**20),
            "pages": pages,
            "verdict": summarise_latency(verdicts),
            "oldest_page_ms": round_digits(time_oldest_page(folder / "events.db") * 1e3),
            "memory_mb": {"before": before, "after the pages": between, "after 400 more": after},
            "lost_s": sum(float(line.rsplit(" ", 1)[1]) for line in lost),
        }
    )


if __name__ == "__main__":
    main()
