"""Run benchmarks, write their results to benchmarks/results/ and update benchmarks/README.md.

Each benchmark is a module of this package and runs in a process of its own, on the cores that it
asks for. Nothing else should run at the same time.

Example: python -m benchmarks start latency
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import sys
import time

from benchmarks import report
from benchmarks.measure import describe_machine, run_python

NAMES = (
    "start",
    "latency",
    "onset",
    "streams",
    "memory",
    "parts",
    "roofline",
    "files",
    "verification",
    "budgets",
    "locate",
    "city",
    "batch",
    "frontier",
    "review",
    "training",
    "audioset",
    "films",
)
LONG = ("soak", "fuzz")
"""Benchmarks of ten minutes to an hour, which run only if they are named."""


def main() -> None:
    """Run the named benchmarks, or all but the long ones."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", nargs="*", metavar="NAME", help="benchmarks to run (default: all)")
    parser.add_argument("--list", action="store_true", help="list the benchmarks and exit")
    parser.add_argument(
        "--minutes", type=float, default=60.0, help="length of the soak test (default: 60)"
    )
    parser.add_argument(
        "--fuzz-minutes", type=float, default=10.0, help="length of the fuzz test (default: 10)"
    )
    options = parser.parse_args()
    if options.list:
        for name in (*NAMES, *LONG):
            sys.stdout.write(f"{name}: {report.SECTIONS[name][0]}\n")
        return
    names = options.name or NAMES
    if unknown := sorted({*names} - {*NAMES, *LONG}):
        known = ", ".join((*NAMES, *LONG))
        parser.error(f"no benchmark {', '.join(unknown)}. Use {known}.")
    os.environ["SOAK_MINUTES"] = str(options.minutes)
    os.environ["FUZZ_MINUTES"] = str(options.fuzz_minutes)
    report.RESULTS.mkdir(parents=True, exist_ok=True)
    for name in names:
        began = time.perf_counter()
        module = importlib.import_module(f"benchmarks.{name}")
        cores = module.CORES or 1_000
        out = run_python(["-m", f"benchmarks.{name}"], cores, **module.ENVIRONMENT)[1]
        result = {
            "name": name,
            "machine": describe_machine(),
            "found": json.loads(out.splitlines()[-1]),
        }
        (report.RESULTS / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n")
        sys.stderr.write(f"{name}: {time.perf_counter() - began:.0f} s\n")
    report.write_report()
    sys.stdout.write(report.format_targets() + "\n")


if __name__ == "__main__":
    main()
