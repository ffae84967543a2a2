"""Media with their headers and packets broken at random: what becomes of each.

`FUZZ_MINUTES` says how long (10). Each file must end in events or in one clear line.
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

from benchmarks.measure import PEAK, print_json, rounded
from streamdet import demo

CORES, ENVIRONMENT = 2, {}
PICTURE = ("-f", "lavfi", "-i", "testsrc=size=160x90:rate=25:duration=20")
FORMS: dict[str, list[str]] = {
    "mp4": [], "mkv": [], "mov": [], "webm": ["-c:v", "libvpx", "-b:v", "100k", "-c:a", "libopus"],
    "mxf": ["-c:v", "mpeg2video", "-ar", "48000", "-c:a", "pcm_s16le"], "m4a": ["-vn"],
    "avi": ["-c:v", "mpeg4", "-c:a", "pcm_s16le"], "ts": ["-c:a", "ac3", "-ar", "48000"],
    "mka": ["-vn", "-c:a", "flac"], "wma": ["-vn", "-c:a", "wmav2"],
    "flv": ["-c:v", "flv1", "-c:a", "aac", "-ar", "44100"], "3gp": ["-c:v", "mpeg4", "-c:a", "aac"],
    "wav": ["-vn"], "flac": ["-vn"], "ogg": ["-vn"], "mp3": ["-vn"],
}  # fmt: skip
EDGES = (b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff")
BATCH, PATIENCE_S = 24, 300.0


def seeds(folder: Path) -> dict[str, bytes]:
    """The shipped scene in every container."""
    sound = folder / "scene.wav"
    soundfile.write(sound, demo.scene(), 16_000, subtype="PCM_16")
    found = {}
    for form, options in FORMS.items():
        path = folder / f"seed.{form}"
        maps = ("-map", "1:a") if "-vn" in options else ("-map", "0:v", "-map", "1:a")
        command = ["ffmpeg", "-v", "error", "-y", *PICTURE, "-i", sound, *maps, *options, path]
        subprocess.run(list(map(str, command)), check=True, timeout=120)
        found[form] = path.read_bytes()
    return found


def mutated(data: bytes, chance: random.Random) -> bytes:
    """Bytes changed, cut out and doubled; half of the places are in the first 4 KB, where headers
    are."""
    changed = bytearray(data)
    for _ in range(chance.choice((1, 5, 60))):
        at = chance.randrange(4_096 if chance.random() < 0.5 else max(1, len(changed)))
        at = min(at, len(changed) - 1)
        kind = chance.random()
        if kind < 0.5:
            changed[at] = chance.randrange(256)
        elif kind < 0.65:
            changed[at : at + 4] = chance.choice(EDGES)
        elif kind < 0.8:
            del changed[at : at + chance.randrange(1, 2_000)]
        else:
            changed[at:at] = changed[at : at + chance.randrange(1, 2_000)]
    return bytes(changed)


def heard(paths: list[Path]) -> tuple[Counter[str], list[str], float]:
    """What became of each file, what should not have, and the most memory in MB."""
    command = [sys.executable, "-c", PEAK, "file", *map(str, paths), "--threshold", "0.6",
               "--format", "jsonl", "--platform", "numpy"]  # fmt: skip
    try:
        done = subprocess.run(
            command, capture_output=True, check=False, timeout=PATIENCE_S, text=True
        )
    except subprocess.TimeoutExpired:
        return Counter(), ["hang"], 0.0
    said, _, end = done.stderr.rpartition("\npeak ")
    peak, _, fault = end.partition("Traceback")
    wrong = [f"exit code {done.returncode}"] if done.returncode not in (0, 2, 3) else []
    wrong += [f"traceback: {fault.splitlines()[-1]}"] if fault else []
    lines = said.splitlines()
    wrong += ["more lines than files"] * (len(lines) > len(paths))
    told = {path: [line for line in lines if str(path) in line] for path in paths}
    with_events = {json.loads(line)["source"] for line in done.stdout.splitlines()}
    became = Counter[str]()
    for path, of in told.items():
        damaged = any("damaged" in line or "truncated" in line for line in of)
        kind = "damaged, told of" if damaged else "refused in a line" if of else "heard whole"
        became[f"{kind}, {'events' if str(path) in with_events else 'no events'}"] += 1
    return became, wrong, int(peak) * 1024 / 1e6


def run(seconds: float, folder: Path, seed: int) -> dict[str, object]:
    """Batch after batch until the time is over."""
    data, chance = seeds(folder), random.Random(seed)
    became, wrong, peak, began = Counter[str](), list[str](), 0.0, time.monotonic()
    while time.monotonic() - began < seconds:
        paths = []
        for number in range(BATCH):
            form = chance.choice(list(data))
            path = folder / f"{number}.{form}"
            path.write_bytes(mutated(data[form], chance))
            paths.append(path)
        found, faults, most = heard(paths)
        became, peak = became + found, max(peak, most)
        if faults:
            wrong += faults
            kept = Path(tempfile.mkdtemp(prefix="streamdet-fuzz-"))
            for path in paths:
                path.rename(kept / path.name)
            sys.stderr.write(f"{', '.join(faults)}: its files are in {kept}\n")
        for path in paths:
            path.unlink(missing_ok=True)
    return {"seed": seed, "seconds": rounded(time.monotonic() - began), "files": became.total(),
            "became": dict(became.most_common()), "wrong": wrong, "peak_mb": rounded(peak, 3),
            "forms": len(data)}  # fmt: skip


def main() -> None:
    """Print what was found as JSON."""
    minutes = float(os.environ.get("FUZZ_MINUTES", "10"))
    with tempfile.TemporaryDirectory() as folder:
        print_json(run(60 * minutes, Path(folder), seed=1))


if __name__ == "__main__":
    main()
