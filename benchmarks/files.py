"""Files from the command line, process start and decoding included: by length, format, cores."""

from __future__ import annotations

import os

from benchmarks.measure import (
    long_file,
    print_json,
    rounded,
    run,
    spread,
    streamdet,
)

LENGTHS_S = (60, 600, 3_600, 10_800, 21_600)
FORMATS = (
    ("wav", 16_000, 1),
    ("flac", 16_000, 1),
    ("wav", 48_000, 2),
    ("ogg", 44_100, 2),
    ("mp3", 44_100, 2),
)
CORES: int | None = None
"""It starts children on cores of their own."""
ENVIRONMENT: dict[str, str] = {}


def scanned(seconds: float, platform: str, cores: int, repeats: int, **kind: object) -> dict:
    """Times real time and peak memory of `streamdet file` over a file of so many seconds."""
    with long_file(seconds, **kind) as path:  # pyright: ignore[reportArgumentType]
        args = ["file", str(path), "--output", os.devnull, "--platform", platform]
        done = [streamdet(args, cores) for _ in range(repeats)]
    return {
        "seconds": seconds,
        "cores": cores,
        "platform": platform,
        "times_real_time": spread([seconds / wall for wall, _ in done]),
        "wall_s": spread([wall for wall, _ in done]),
        "peak_mb": rounded(max(peak for _, peak in done), 3),
    }


def main() -> None:
    """Print what was found as JSON."""
    both = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
    run(["-m", "streamdet", "selftest", "--platform", "cpu"])
    with long_file(20.0) as path:  # the compiled steps, into the cache
        streamdet(["file", str(path), "--output", os.devnull, "--platform", "cpu"], both)
        streamdet(["file", str(path), "--output", os.devnull, "--platform", "cpu"], 1)
    rows = []
    for seconds in LENGTHS_S:
        repeats = 3 if seconds > 600 else 5
        rows += [scanned(seconds, "cpu", cores, repeats) for cores in (1, 2)[:both]]
        if seconds <= 3_600:
            rows.append(scanned(seconds, "numpy", 1, repeats))
    formats = [
        {
            "format": kind,
            "rate": rate,
            "channels": channels,
            **scanned(3_600, "cpu", 1, 3, kind=kind, rate=rate, channels=channels),
        }
        for kind, rate, channels in FORMATS
    ]
    print_json({"rows": rows, "formats": formats})


if __name__ == "__main__":
    main()
