"""What docs/performance.md says of films."""

from __future__ import annotations

from typing import Any

from benchmarks.words import said, table


def films(found: dict[str, Any]) -> str:
    """Decoding and listening apart, scans, memory over length."""
    apart = [[r["film"], *(float(r[k]) for k in ("decode", "mix", "auto"))] for r in found["apart"]]
    scans = [[r["jobs"], float(r["hours_an_hour"])] for r in found["scans"]]
    memory = [[r["hours"], float(r["peak_mb"])] for r in found["memory"]]
    return (
        "Hours of audio an hour of one core, decoding alone and listening alone to what is "
        "decoded: to the mean of the channels, and, as is the default, to the mean and the "
        "loudest channel at once.\n\n"
        + table(["film", "decode", "listen, mean", "listen, both"], apart)
        + f"\n\n`streamdet scan` over {found['scanned_hours']:g} hours of the first kind of film "
        "in eight files, the start of its processes and the compilation included:\n\n"
        + table(["processes (a core each)", "hours of audio an hour"], scans)
        + "\n\nThe most memory of `streamdet file` over the second kind of film (5.1), by length:"
        "\n\n" + table(["hours", "MB"], memory)
    )


def fuzz(found: dict[str, Any]) -> str:
    """What became of broken files."""
    rows = [[kind, count] for kind, count in found["became"].items()]
    wrong = ", ".join(found["wrong"]) or "none"
    return (
        f"{found['files']:,} files in {found['seconds'] / 60:.0f} minutes, made of "
        f"{found['forms']} containers by changed, missing and doubled bytes (seed {found['seed']}"
        f"). Crashes, hangs, tracebacks, and files with more than a line: {wrong}. The most "
        f"memory: {said(float(found['peak_mb']))} MB.\n\n" + table(["became", "files"], rows)
    )
