"""Peak memory of commands by platform and length, and of each further stream."""

from __future__ import annotations

import json

from benchmarks.measure import make_long_file, print_json, round_digits, run_python, run_streamdet

COUNTS = (1, 10, 50, 100, 200, 500)
CORES, ENVIRONMENT = None, {}


def main() -> None:
    """Print the results as JSON."""
    commands = {}
    for platform in ("numpy", "cpu"):
        commands[f"selftest, {platform}"] = run_streamdet(["selftest", "--platform", platform])[1]
        for seconds, name in ((60, "1 min"), (10_800, "3 h")):
            if (platform, seconds) == ("numpy", 10_800):
                continue
            with make_long_file(seconds) as path:
                args = ["file", str(path), "--platform", platform]
                commands[f"file of {name}, {platform}"] = run_streamdet(args, 2)[1]
    streams = [
        (n, json.loads(run_python(["-m", "benchmarks.children.stream_memory", str(n)])[1]))
        for n in COUNTS
    ]
    (first, least), (last, most) = streams[0], streams[-1]
    print_json(
        {
            "peak_mb": {name: round_digits(peak, 3) for name, peak in commands.items()},
            "streams": [{"streams": n, "peak_mb": round_digits(peak, 3)} for n, peak in streams],
            "mb_a_further_stream": round_digits((most - least) / (last - first), 3),
        }
    )


if __name__ == "__main__":
    main()
