"""The most memory that each command and form takes, and what each further stream adds."""

from __future__ import annotations

import json
import os

from benchmarks.measure import long_file, print_json, rounded, run, streamdet

COUNTS = (1, 10, 50, 100, 200, 500)
CORES, ENVIRONMENT = None, {}

_STREAMS = """
import sys
import numpy as np
from benchmarks.measure import peak_mb, print_json
from streamdet.detection.plain import PlainEngine
from streamdet.model import bundle
engine = PlainEngine(bundle.load(), streams=int(sys.argv[1]))
state = engine.start()
for _ in range(5):
    state, _ = engine.step(state, np.zeros((engine.streams, engine.block), np.float32))
print_json(peak_mb())
"""


def main() -> None:
    """Print what was found as JSON."""
    commands = {}
    for platform in ("numpy", "cpu"):
        commands[f"selftest, {platform}"] = streamdet(["selftest", "--platform", platform])[1]
        for seconds, name in ((60, "1 min"), (10_800, "3 h")):
            if (platform, seconds) == ("numpy", 10_800):
                continue
            with long_file(seconds) as path:
                args = ["file", str(path), "--output", os.devnull, "--platform", platform]
                commands[f"file of {name}, {platform}"] = streamdet(args, 2)[1]
    streams = [(n, json.loads(run(["-c", _STREAMS, str(n)])[1])) for n in COUNTS]
    (first, least), (last, most) = streams[0], streams[-1]
    print_json(
        {
            "peak_mb": {name: rounded(peak, 3) for name, peak in commands.items()},
            "streams": [{"streams": n, "peak_mb": rounded(peak, 3)} for n, peak in streams],
            "mb_a_further_stream": rounded((most - least) / (last - first), 3),
        }
    )


if __name__ == "__main__":
    main()
