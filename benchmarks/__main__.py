"""`python -m benchmarks [NAME...]`: measure, write JSON beside docs/performance.md, remake that.

Each benchmark is a file of this folder and runs in a process of its own, on the cores that it asks
for. Nothing else should run meanwhile.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import sys
import time

from benchmarks import report
from benchmarks.measure import machine, run

NAMES = (
    "start",
    "latency",
    "onset",
    "streams",
    "memory",
    "parts",
    "roofline",
    "files",
    "batch",
    "frontier",
    "review",
    "training",
    "audioset",
    "films",
)
LONG = ("soak", "fuzz")
"""Those that take ten minutes or an hour, and are run only where they are named."""


def main() -> None:
    """Run the benchmarks that are named, all if none is."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("name", nargs="*", metavar="NAME", help="which ones (all)")
    parser.add_argument("--minutes", type=float, default=60.0, help="how long to soak (60)")
    parser.add_argument("--fuzz-minutes", type=float, default=10.0, help="how long to fuzz (10)")
    told = parser.parse_args()
    names = told.name or NAMES
    if unknown := sorted({*names} - {*NAMES, *LONG}):
        there = ", ".join((*NAMES, *LONG))
        parser.error(f"no benchmark {', '.join(unknown)}; there are: {there}")
    os.environ["SOAK_MINUTES"] = str(told.minutes)
    os.environ["FUZZ_MINUTES"] = str(told.fuzz_minutes)
    report.RESULTS.mkdir(parents=True, exist_ok=True)
    for name in names:
        began = time.perf_counter()
        module = importlib.import_module(f"benchmarks.{name}")
        out = run(["-m", f"benchmarks.{name}"], module.CORES or 1_000, **module.ENVIRONMENT)[1]
        found = {"name": name, "machine": machine(), "found": json.loads(out.splitlines()[-1])}
        (report.RESULTS / f"{name}.json").write_text(json.dumps(found, indent=1) + "\n")
        sys.stderr.write(f"{name}: {time.perf_counter() - began:.0f} s\n")
    report.write()
    sys.stdout.write(report.table_of_targets() + "\n")


if __name__ == "__main__":
    main()
