"""Films: decoding and listening apart, a whole scan, and memory over a film's length.

Films are made by FFmpeg around the shipped scene: two minutes, repeated as they are.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.measure import long_file, print_json, rounded, run, streamdet

CORES, ENVIRONMENT = None, {}
PICTURE = ("-f", "lavfi", "-i", "testsrc=size=640x360:rate=25:duration=120")
H264 = ("-c:v", "libx264", "-preset", "ultrafast")
FILMS = {
    "mp4, AAC stereo 48 kHz": ("mp4", 2, (*H264, "-c:a", "aac")),
    "mkv, AC-3 5.1 48 kHz": ("mkv", 6, (*H264, "-c:a", "ac3")),
    "mxf, PCM stereo 48 kHz": ("mxf", 2, ("-c:v", "mpeg2video", "-c:a", "pcm_s16le")),
    "m4a, AAC stereo 48 kHz": ("m4a", 2, ("-vn", "-c:a", "aac")),
}
HOUR_S = 3_600
LENGTHS_S = (600, 3_600, 10_800, 21_600)
SCANNED = 8

_APART = """
import sys, time
from pathlib import Path
from benchmarks.measure import print_json
from streamdet.archive.hearing import Hearer, Wishes
from streamdet.audio import media
from streamdet.audio.source import Block
from streamdet.detection.decision import DecisionConfig
from streamdet.model import bundle
from streamdet.service import engines
from streamdet.service.files import Listener

class Decoded:
    def __init__(self, source):
        self.rate, self.channels = source.rate, source.channels
        self.kept = list(source.blocks())
    def blocks(self):
        return iter(self.kept)
    def close(self):
        pass

path, end_s = Path(sys.argv[1]), float(sys.argv[2])
began = time.perf_counter()
for _ in media.opened(path, 0.0, end_s).blocks():
    pass
spent = {"decode": time.perf_counter() - began}
decoded = Decoded(media.opened(path, 0.0, end_s))
engine = engines.for_scan(bundle.load())
engine.warm_up()
for channels in ("mix", "auto"):
    listener = Listener(engine, DecisionConfig(0.6), channels)
    began = time.perf_counter()
    for _ in listener.hear(decoded, "film"):
        pass
    spent[channels] = time.perf_counter() - began
print_json(spent)
"""


def made(folder: Path, name: str, seconds: float) -> Path:
    """A film of so many seconds."""
    suffix, channels, options = FILMS[name]
    short, film = folder / f"short.{suffix}", folder / f"{round(seconds)}.{suffix}"
    with long_file(120.0, 48_000, channels) as sound:
        _ffmpeg(*PICTURE, "-i", sound, "-map", "0:v", "-map", "1:a", *options, short)
    _ffmpeg("-stream_loop", round(seconds / 120) - 1, "-i", short, "-c", "copy", film)
    short.unlink()
    return film


def _ffmpeg(*arguments: object) -> None:
    command = ["ffmpeg", "-v", "error", "-y", *map(str, arguments)]
    subprocess.run(command, check=True)


def apart(folder: Path, name: str) -> dict[str, Any]:
    """Hours of audio an hour of one core: decoding alone, and listening alone to what is decoded,
    to the mean and to the mean with the loudest channel."""
    film = made(folder, name, HOUR_S)
    seconds = HOUR_S / 2  # that is held in memory decoded
    spent = json.loads(run(["-c", _APART, str(film), str(seconds)], 1)[1])
    film.unlink()
    return {"film": name, **{k: rounded(seconds / v) for k, v in spent.items()}}


def scanned(folder: Path, jobs: int) -> dict[str, Any]:
    """Hours of audio an hour of a whole scan, its processes' start included."""
    args = ["scan", str(folder), "--manifest", str(folder / "scan.db"), "--jobs", str(jobs),
            "--output", os.devnull]  # fmt: skip
    wall, _ = streamdet(args, jobs)
    (folder / "scan.db").unlink()
    return {"jobs": jobs, "hours_an_hour": rounded(SCANNED * HOUR_S / 2 / wall)}


def main() -> None:
    """Print what was found as JSON."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = [apart(folder, film) for film in FILMS]
        first = made(folder, "mp4, AAC stereo 48 kHz", HOUR_S / 2)
        for i in range(SCANNED - 1):
            (folder / f"copy{i}.mp4").write_bytes(first.read_bytes() + bytes(i + 1))
        both = len(os.sched_getaffinity(0))
        scans = [scanned(folder, jobs) for jobs in (1, 2)[:both]]
    memory = []
    with tempfile.TemporaryDirectory() as name:
        for seconds in LENGTHS_S:
            film = made(Path(name), "mkv, AC-3 5.1 48 kHz", seconds)
            _, peak = streamdet(["file", str(film), "--output", os.devnull, "--platform", "cpu"], 2)
            memory.append({"hours": seconds / 3_600, "peak_mb": rounded(peak, 3)})
            film.unlink()
    print_json({"apart": rows, "scans": scans, "scanned_hours": SCANNED / 2, "memory": memory})


if __name__ == "__main__":
    main()
