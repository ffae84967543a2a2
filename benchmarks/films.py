"""Films: decoding and analysis separately, a whole scan, and memory by length.

FFmpeg makes the films from the demo scene: two minutes, repeated.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.measure import make_long_file, print_json, round_digits, run_python, run_streamdet

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


def make_film(folder: Path, name: str, seconds: float) -> Path:
    """Make a film of this length."""
    suffix, channels, options = FILMS[name]
    short, film = folder / f"short.{suffix}", folder / f"{round(seconds)}.{suffix}"
    with make_long_file(120.0, 48_000, channels) as sound:
        _run_ffmpeg(*PICTURE, "-i", sound, "-map", "0:v", "-map", "1:a", *options, short)
    _run_ffmpeg("-stream_loop", round(seconds / 120) - 1, "-i", short, "-c", "copy", film)
    short.unlink()
    return film


def _run_ffmpeg(*arguments: object) -> None:
    command = ["ffmpeg", "-v", "error", "-y", *map(str, arguments)]
    subprocess.run(command, check=True)


def measure_stages(folder: Path, name: str) -> dict[str, Any]:
    """Measure the hours of audio per hour of one core: decoding, and analysis of decoded audio.

    The analysis is of the mean of the channels, and of the mean and the loudest channel.
    """
    film = make_film(folder, name, HOUR_S)
    seconds = HOUR_S / 2  # this much is decoded into memory
    spent = json.loads(
        run_python(["-m", "benchmarks.children.film_stages", str(film), str(seconds)], 1)[1]
    )
    film.unlink()
    return {"film": name, **{k: round_digits(seconds / v) for k, v in spent.items()}}


def measure_scan(folder: Path, jobs: int) -> dict[str, Any]:
    """Measure the hours of audio per hour of a whole scan, with the start of its processes."""
    args = ["scan", str(folder), "--manifest", str(folder / "scan.db"), "--jobs", str(jobs),
            "--output", os.devnull]  # fmt: skip
    wall, _ = run_streamdet(args, jobs)
    (folder / "scan.db").unlink()
    return {"jobs": jobs, "hours_an_hour": round_digits(SCANNED * HOUR_S / 2 / wall)}


def main() -> None:
    """Print the results as JSON."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = [measure_stages(folder, film) for film in FILMS]
        first = make_film(folder, "mp4, AAC stereo 48 kHz", HOUR_S / 2)
        for i in range(SCANNED - 1):
            (folder / f"copy{i}.mp4").write_bytes(first.read_bytes() + bytes(i + 1))
        both = len(os.sched_getaffinity(0))
        scans = [measure_scan(folder, jobs) for jobs in (1, 2)[:both]]
    memory = []
    with tempfile.TemporaryDirectory() as name:
        for seconds in LENGTHS_S:
            film = make_film(Path(name), "mkv, AC-3 5.1 48 kHz", seconds)
            _, peak = run_streamdet(["file", str(film), "--platform", "cpu"], 2)
            memory.append({"hours": seconds / 3_600, "peak_mb": round_digits(peak, 3)})
            film.unlink()
    print_json({"apart": rows, "scans": scans, "scanned_hours": SCANNED / 2, "memory": memory})


if __name__ == "__main__":
    main()
