"""Speed of `streamdet file`, with process start and decoding, by length, format and cores."""

from __future__ import annotations

import os

from benchmarks.measure import (
    make_long_file,
    print_json,
    round_digits,
    run_python,
    run_streamdet,
    summarise,
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
"""It runs child processes on a given number of cores."""
ENVIRONMENT: dict[str, str] = {}


def measure_file(seconds: float, platform: str, cores: int, repeats: int, **kind: object) -> dict:
    """Measure speed and peak memory of `streamdet file` on a file of this length."""
    with make_long_file(seconds, **kind) as path:  # pyright: ignore[reportArgumentType]
        args = ["file", str(path), "--platform", platform]
        done = [run_streamdet(args, cores) for _ in range(repeats)]
    return {
        "seconds": seconds,
        "cores": cores,
        "platform": platform,
        "times_real_time": summarise([seconds / wall for wall, _ in done]),
        "wall_s": summarise([wall for wall, _ in done]),
        "peak_mb": round_digits(max(peak for _, peak in done), 3),
    }


def main() -> None:
    """Print the results as JSON."""
    both = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
    run_python(["-m", "streamdet", "selftest", "--platform", "cpu"])
    with make_long_file(20.0) as path:  # fills the compilation cache
        run_streamdet(["file", str(path), "--platform", "cpu"], both)
        run_streamdet(["file", str(path), "--platform", "cpu"], 1)
    rows = []
    for seconds in LENGTHS_S:
        repeats = 3 if seconds > 600 else 5
        rows += [measure_file(seconds, "cpu", cores, repeats) for cores in (1, 2)[:both]]
        if seconds <= 3_600:
            rows.append(measure_file(seconds, "numpy", 1, repeats))
    formats = [
        {
            "format": kind,
            "rate": rate,
            "channels": channels,
            **measure_file(3_600, "cpu", 1, 3, kind=kind, rate=rate, channels=channels),
        }
        for kind, rate, channels in FORMATS
    ]
    print_json({"rows": rows, "formats": formats})


if __name__ == "__main__":
    main()
