"""Analyse media files with randomly damaged headers and packets.

Each file must give events or one clear message. The environment variables FUZZ_MINUTES (10) and
FUZZ_SEED (1) set the duration and the seed.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import soundfile

from benchmarks.measure import ROOT, WITH_PEAK, print_json, round_digits
from streamdet import demo
from tests.media_forms import FORMS, PICTURE

CORES, ENVIRONMENT = 2, {}
EDGES = (b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff")
BATCH, TIMEOUT_S = 24, 300.0


def make_seeds(folder: Path) -> dict[str, bytes]:
    """Encode the demo scene in every container."""
    sound = folder / "scene.wav"
    soundfile.write(sound, demo.scene(), 16_000, subtype="PCM_16")
    seeds = {}
    for form, options in FORMS.items():
        path = folder / f"seed.{form}"
        maps = ("-map", "1:a") if "-vn" in options else ("-map", "0:v", "-map", "1:a")
        command = ["ffmpeg", "-v", "error", "-y", *PICTURE, "-i", sound, *maps, *options, path]
        subprocess.run(list(map(str, command)), check=True, timeout=120)
        seeds[form] = path.read_bytes()
    return seeds


def mutate(data: bytes, rng: random.Random) -> bytes:
    """Change, remove and repeat bytes; half of the changes are in the first 4 KB, the headers."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 5, 60))):
        i = rng.randrange(4_096 if rng.random() < 0.5 else max(1, len(changed)))
        i = min(i, len(changed) - 1)
        kind = rng.random()
        if kind < 0.5:
            changed[i] = rng.randrange(256)
        elif kind < 0.65:
            changed[i : i + 4] = rng.choice(EDGES)
        elif kind < 0.8:
            del changed[i : i + rng.randrange(1, 2_000)]
        else:
            changed[i:i] = changed[i : i + rng.randrange(1, 2_000)]
    return bytes(changed)


def analyse_batch(paths: list[Path]) -> tuple[Counter[str], list[str], float]:
    """Analyse files with one command; return (outcomes, faults, peak memory in MB)."""
    command = [sys.executable, *WITH_PEAK, "file", *map(str, paths), "--threshold", "0.6",
               "--format", "jsonl", "--platform", "numpy"]  # fmt: skip
    try:
        done = subprocess.run(
            command, capture_output=True, check=False, timeout=TIMEOUT_S, text=True, cwd=ROOT
        )
    except subprocess.TimeoutExpired:
        return Counter(), ["hang"], 0.0
    messages, _, end = done.stderr.rpartition("\npeak ")
    peak, _, fault = end.partition("Traceback")
    faults = [f"exit code {done.returncode}"] if done.returncode not in (0, 2, 3) else []
    faults += [f"traceback: {fault.splitlines()[-1]}"] if fault else []
    lines = messages.splitlines()
    faults += ["more lines than files"] * (len(lines) > len(paths))
    with_events = {json.loads(line)["source"] for line in done.stdout.splitlines()}
    outcomes = Counter[str]()
    for path in paths:
        of_path = [line for line in lines if str(path) in line]
        damaged = any("damaged" in line or "truncated" in line for line in of_path)
        outcome = "reported as damaged" if damaged else "rejected" if of_path else "no message"
        outcomes[f"{outcome}, {'events' if str(path) in with_events else 'no events'}"] += 1
    return outcomes, faults, int(peak) * 1024 / 1e6


def run_fuzz(seconds: float, folder: Path, seed: int) -> dict[str, object]:
    """Analyse batches of mutated files for this time."""
    seeds, rng = make_seeds(folder), random.Random(seed)
    outcomes, faults, peak, began = Counter[str](), list[str](), 0.0, time.monotonic()
    while time.monotonic() - began < seconds:
        paths = []
        for number in range(BATCH):
            form = rng.choice(list(seeds))
            path = folder / f"{number}.{form}"
            path.write_bytes(mutate(seeds[form], rng))
            paths.append(path)
        of_batch, faults_of_batch, batch_peak = analyse_batch(paths)
        outcomes, peak = outcomes + of_batch, max(peak, batch_peak)
        if faults_of_batch:
            faults += faults_of_batch
            evidence = Path(tempfile.mkdtemp(prefix="streamdet-fuzz-"))
            for path in paths:
                path.rename(evidence / path.name)
            sys.stderr.write(f"{', '.join(faults_of_batch)}: the files are in {evidence}\n")
        for path in paths:
            path.unlink(missing_ok=True)
    return {
        "seed": seed,
        "seconds": round_digits(time.monotonic() - began),
        "files": outcomes.total(),
        "outcomes": dict(outcomes.most_common()),
        "faults": faults,
        "peak_mb": round_digits(peak, 3),
        "forms": len(seeds),
    }


def main() -> None:
    """Print the results as JSON."""
    minutes = float(os.environ.get("FUZZ_MINUTES", "10"))
    seed = int(os.environ.get("FUZZ_SEED", "1"))
    with tempfile.TemporaryDirectory() as folder:
        print_json(run_fuzz(60 * minutes, Path(folder), seed))


if __name__ == "__main__":
    main()
