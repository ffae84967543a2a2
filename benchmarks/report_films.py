"""The sections on films in benchmarks/README.md."""

from __future__ import annotations

from typing import Any

from benchmarks.words import format_table, format_value


def format_films(found: dict[str, Any]) -> str:
    """Format decoding and analysis, scans, and memory by length."""
    stages = [
        [r["film"], *(float(r[k]) for k in ("decode", "mix", "auto"))] for r in found["apart"]
    ]
    scans = [[r["jobs"], float(r["hours_an_hour"])] for r in found["scans"]]
    memory = [[r["hours"], float(r["peak_mb"])] for r in found["memory"]]
    return (
        "Hours of audio per hour of one core: decoding alone, and analysis of decoded audio. The "
        "analysis is of the mean of the channels, and of the mean and the loudest channel, which "
        "is the default.\n\n"
        + format_table(["film", "decode", "analyse the mean", "analyse both"], stages)
        + f"\n\n`streamdet scan` over {found['scanned_hours']:g} hours of the first kind of film "
        "in eight files, with the start of the processes and compilation:\n\n"
        + format_table(["processes (one core each)", "hours of audio per hour"], scans)
        + "\n\nPeak memory of `streamdet file` on the second kind of film (5.1), by length:\n\n"
        + format_table(["hours", "MB"], memory)
    )


def format_fuzz(found: dict[str, Any]) -> str:
    """Format the outcomes of damaged files."""
    rows = [[outcome, count] for outcome, count in found["outcomes"].items()]
    faults = ", ".join(found["faults"]) or "none"
    return (
        f"{found['files']:,} files in {found['seconds'] / 60:.0f} minutes, made from "
        f"{found['forms']} containers by changing, removing and repeating bytes (seed "
        f"{found['seed']}). Crashes, hangs, tracebacks, and files with more than one message: "
        f"{faults}. Peak memory: {format_value(float(found['peak_mb']))} MB.\n\n"
        + format_table(["outcome", "files"], rows)
    )
