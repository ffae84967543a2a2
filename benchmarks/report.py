"""`python -m benchmarks.report`: docs/performance.md and its plots, from the benchmarks' JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from benchmarks import plots, report_films
from benchmarks.measure import ROOT
from benchmarks.soak import slope
from benchmarks.words import BY, table
from benchmarks.words import said as _said

PAGE = ROOT / "docs" / "performance.md"
RESULTS = ROOT / "docs" / "performance"

Found = dict[str, Any]


def results() -> dict[str, Found]:
    """What each benchmark found last, by name."""
    return {path.stem: json.loads(path.read_text()) for path in sorted(RESULTS.glob("*.json"))}


def write() -> None:
    """Make the page and its plots anew."""
    said = results()
    plots.draw(said, RESULTS)
    PAGE.write_text(page(said))


def page(said: dict[str, Found]) -> str:
    """The page as Markdown, with a section for each benchmark that has been run."""
    sections = [_head(said), "## Targets", table_of_targets()]
    for name, (title, make) in SECTIONS.items():
        if name in said:
            found = said[name]["found"]
            where = f"`python -m benchmarks {name}`, {_where(said[name])}"
            told = found["missing"] + "." if "missing" in found else make(found)
            sections += [f"## {title}", where, told]
    return "\n\n".join(sections) + "\n"


def _where(result: Found) -> str:
    m = result["machine"]
    return f"{m['cpu']}, {m['cores']} cores, commit {m['commit']}."


def _head(said: dict[str, Found]) -> str:
    machines = [result["machine"] for result in said.values()]
    versions = {
        f"jax {m['jax']}, numpy {m['numpy']}, onnxruntime {m['onnxruntime']}" for m in machines
    }
    return (
        "# Performance\n\n"
        "Made by `make bench`, every figure from the JSON beside the plots in "
        "[performance/](performance/); nothing is written by hand. Repeats are given as median "
        "(least to most). What was learned from profiles stands in [profiles](profiles.md). "
        f"With {'; '.join(sorted(versions))}."
    )


def _row(rows: Sequence[Found], **want: Any) -> Found:
    return next((r for r in rows if all(r.get(k) == v for k, v in want.items())), {})


def targets(said: dict[str, Found]) -> list[tuple[str, str, Any, bool, str]]:
    """What was to be reached, what was measured, whether that is enough, and by which benchmark."""
    made: list[tuple[str, str, Any, bool, str]] = []

    def add(name: str, what: str, goal: str, value: Any, reached: Callable[[float], bool]) -> None:
        if value is not None:
            made.append((what, goal, value, reached(value), name))

    def found(name: str) -> Found:
        return said.get(name, {}).get("found", {})

    chunk = _row(found("latency").get("chunks", []), chunk_ms=100).get("numpy", {})
    add("latency", "a live chunk of 100 ms, p99", "1 ms", chunk.get("p99_ms"), lambda v: v <= 1)
    onset = found("onset").get("numpy", {})
    add("onset", "onset to stdout, median", "150 ms", onset.get("median_ms"), lambda v: v <= 150)
    add("onset", "onset to stdout, p99", "250 ms", onset.get("p99_ms"), lambda v: v <= 250)
    share = onset.get("share_of_core")
    percent = None if share is None else 100 * share
    add("onset", "one stream, % of a core", "1", percent, lambda v: v <= 1)
    many = _row(found("streams").get("rows", []), streams=200).get("cpu", {})
    add("streams", "200 streams on a core, p99", "50 ms", many.get("p99_ms"), lambda v: v <= 50)
    for cores, goal in ((1, 1_500), (2, 2_500)):
        row = _row(found("files").get("rows", []), seconds=21_600, cores=cores, platform="cpu")
        value = row.get("times_real_time", {}).get("median")
        what = f"a file of 6 h, times real time, {cores} core{'s' * (cores > 1)}"
        add("files", what, f"{goal:,}", value, lambda v, goal=goal: v >= goal)
    start = found("start")
    first = start.get("first_score_numpy_s", {}).get("median")
    add("start", "process start to first score", "1.0 s", first, lambda v: v <= 1)
    compiled = start.get("first_score_cpu_s", {}).get("median")
    add("start", "the same by JAX, its cache warm", "1.0 s", compiled, lambda v: v <= 1)
    review = found("review")
    newest = _row(review.get("pages", []), page="the newest").get("p99_ms")
    add("review", "the list of 100,000 events, p99", "200 ms", newest, lambda v: v < 200)
    verdict = review.get("verdict", {}).get("p99_ms")
    add("review", "a verdict while it hears, p99", "50 ms", verdict, lambda v: v < 50)
    helped = start.get("help_s", {}).get("median")
    add("start", "`streamdet --help`", "0.15 s", helped, lambda v: v <= 0.15)
    add("onset", "memory of `listen`, MB", "200", onset.get("peak_mb"), lambda v: v <= 200)
    each = found("memory").get("mb_a_further_stream")
    add("memory", "a further stream, MB", "1", each, lambda v: v <= 1)
    return made


def table_of_targets() -> str:
    """The targets beside what was measured."""
    rows = [
        (what, goal, value, "yes" if reached else "**no**", f"`python -m benchmarks {name}`")
        for what, goal, value, reached, name in targets(results())
    ]
    return table(("what", "target", "measured", "reached", "command"), rows)


def _start(found: Found) -> str:
    return table(
        ("from process start", "seconds or MB"),
        [(k.replace("_cpu", " by JAX").replace("_", " "), v) for k, v in found.items()],
    )


def _latency(found: Found) -> str:
    both = ("median_ms", "p99_ms")
    rows = [
        (row["chunk_ms"], *(row[p][k] for p in ("numpy", "cpu") for k in both))
        for row in found["chunks"]
    ]
    head = ("chunk, ms", "numpy median, ms", "p99", "JAX median, ms", "p99")
    one = [(name, *(q[k] for k in both)) for name, q in found["one_block_80_ms"].items()]
    return (
        table(head, rows)
        + "\n\nOne block of 80 ms, without converter and decision:\n\n"
        + table(("by", "median, ms", "p99, ms"), one)
    )


def _onset(found: Found) -> str:
    rows = [
        (BY.get(name, name.replace("_", " ")), q.get("told", ""), q["median_ms"], q["p99_ms"],
         q.get("share_of_core", ""), q.get("peak_mb", ""))
        for name, q in found.items() if isinstance(q, dict)
    ]  # fmt: skip
    head = ("by", "shots told", "median, ms", "p99, ms", "share of a core", "peak MB")
    return table(head, rows) + (
        "\n\n*Waiting for audio* is the part that no computer can shorten: the sound behind the "
        "onset that had to be heard, and the rest of its block."
    )


def _streams(found: Found) -> str:
    keys = ("median_ms", "p99_ms", "share_of_core")
    rows = [
        (row["streams"], *(row[p][k] for p in ("numpy", "cpu") for k in keys))
        for row in found["rows"]
    ]
    each = ("median, ms", "p99", "share of the core")
    head = ("streams", *(f"{by} {k}" for by in ("numpy", "JAX") for k in each))
    onnx = found["onnxruntime_200_network_alone"]
    return (
        table(head, rows)
        + f"\n\nonnxruntime takes {onnx['median_ms']} ms (p99 {onnx['p99_ms']}) for the network "
        "alone of 200 streams.\n\n![cost against streams](performance/streams.png)"
    )


def _memory(found: Found) -> str:
    streams = [(f"streams by numpy: {r['streams']}", r["peak_mb"]) for r in found["streams"]]
    commands = [(name.replace(", cpu", ", JAX"), peak) for name, peak in found["peak_mb"].items()]
    each = f"\n\nA further stream adds {found['mb_a_further_stream']} MB."
    return table(("what", "peak MB"), [*commands, *streams]) + each


def _parts(found: Found) -> str:
    parts = found["microseconds_a_second"]
    ours = parts["all of a step"]["median"]
    rows = [(name, v, v["median"] / ours) for name, v in parts.items()]
    network = parts["onnxruntime: network"]["median"] / parts["network"]["median"]
    return (
        table(("part", "µs a second of sound", "against all of a step"), rows)
        + f"\n\nonnxruntime takes {network:.2f} times as long as JAX for the network."
    )


def _roofline(found: Found) -> str:
    rows = [
        (name, r["mflop"], r["bound_us"], r["us"], f"{r['share_of_peak']:.0%}")
        for name, r in found["stages"].items()
    ]
    head = ("stage", "MFLOP a second of sound", "bound, µs", "measured, µs", "share of peak")
    return (
        f"A core does {found['peak_gflops']:.0f} GFLOP/s in a large matrix product and reads "
        f"{found['memory_gb_s']:.1f} GB/s from memory. The arithmetic alone bounds this detector "
        f"at {found['bound_times_real_time']:,.0f} times real time. Its weights are "
        f"{found['weights_kb']:.0f} kB; what is read anew each tick, "
        f"{found['recurrent_kb_a_tick']:.0f} kB of recurrent kernel, makes "
        f"{found['recurrent_gb_a_second_of_sound'] * 1e3:.1f} MB a second of sound.\n\n"
        + table(head, rows)
    )


def _files(found: Found) -> str:
    keys = ("platform", "cores", "times_real_time", "wall_s", "peak_mb")
    rows = [(_length(r["seconds"]), *(r[k] for k in keys)) for r in found["rows"]]
    formats = [
        (r["format"], f"{r['rate']:,} Hz", r["channels"], r["times_real_time"], r["wall_s"])
        for r in found["formats"]
    ]
    timed = ("times real time", "wall, s")
    return "\n\n".join(
        (
            table(("16 kHz wav", "platform", "cores", *timed, "peak MB"), rows),
            "![times real time against length](performance/files.png)",
            "An hour on one core, by format:",
            table(("format", "rate", "channels", *timed), formats),
        )
    )


def _batch(found: Found) -> str:
    rows = [
        (r["batch"], r["numpy"], r["cpu"], r["onnxruntime_network"])
        for r in found["microseconds_a_second"]
    ]
    return (
        table(("batch", "numpy, µs a second of sound", "JAX", "onnxruntime, network alone"), rows)
        + "\n\nA batch is for accelerators (`--platform gpu --batch`), none of which has been "
        "measured.\n\n![cost against batch](performance/batch.png)"
    )


def _training(found: Found) -> str:
    rows = [
        (r["config"], r["batch"], r["seconds_a_clip"], r["step_s"], r["clips_a_second"],
         f"{r['share_of_peak']:.0%}")
        for r in found["rows"]
    ]  # fmt: skip
    head = ("config", "batch", "seconds a clip", "step, s", "clips a second", "share of peak")
    return f"Peak: {found['peak_gflops']:.0f} GFLOP/s on these cores.\n\n" + table(head, rows)


def _audioset(found: Found) -> str:
    return table(("what", ""), [(k.replace("_", " "), v) for k, v in found.items()])


def _frontier(found: Found) -> str:
    rows = [tuple(row.values()) for row in found["rows"]]
    head = tuple(key.replace("_", " ") for key in found["rows"][0])
    return table(head, rows) + "\n\n![quality against cost](performance/frontier.png)"


def _soak(found: Found) -> str:
    first, least, most = found["memory_mb"]
    points = np.array(found["hours_and_mb"])
    late = points[points[:, 0] >= points[-1, 0] / 2]
    grows, either_way = (1e3 * x for x in slope(late[:, 0], late[:, 1]))
    rows = [
        ("streams, replayed at real pace", found["streams"]),
        ("minutes", found["minutes"]),
        ("hours of audio analysed", found["audio_hours"]),
        ("audio lost, s", found["lost_s"]),
        ("sources opened anew", found["reconnects"]),
        ("events of a stream, least and most", " and ".join(map(str, found["events_of_a_stream"]))),
        ("onset to event, p99 below, s", found["late_99_s"]),
        ("a stream, % of a core", 100 * found["share_of_core_a_stream"]),
        ("memory at first, MB (least to most)", f"{first} ({least} to {most})"),
        (
            "its slope, kB an hour (95 %)",
            f"{found['kb_an_hour']:,.0f} ± {found['kb_an_hour_either_way']:,.0f}",
        ),
        ("that of the second half alone", f"{grows:,.0f} ± {either_way:,.0f}"),
    ]
    return table(("what", ""), rows) + "\n\n![memory over time](performance/soak.png)"


def _length(seconds: float) -> str:
    return f"{seconds / 3600:g} h" if seconds >= 3600 else f"{seconds / 60:g} min"


def _review(found: Found) -> str:
    rows = [[r["page"], r["median_ms"], r["p99_ms"]] for r in found["pages"]]
    rows.append(
        ["a verdict, written and synced", *(found["verdict"][k] for k in ("median_ms", "p99_ms"))]
    )
    memory = ", ".join(f"{_said(v)} ({k})" for k, v in found["memory_mb"].items())
    return (
        f"A daemon that hears one replayed source, over a store of {found['events']:,} events "
        f"({_said(found['store_mb'])} MB); every request over a new connection.\n\n"
        + table(["asked of the page", "median ms", "p99 ms"], rows)
        + f"\n\nThe daemon's memory, MB: {memory}. Audio lost meanwhile: {found['lost_s']:g} s."
    )


SECTIONS: dict[str, tuple[str, Callable[[Found], str]]] = {
    "latency": ("A live chunk", _latency),
    "onset": ("From a shot to its event", _onset),
    "streams": ("Streams on a core", _streams),
    "files": ("Files", _files),
    "parts": ("A second of a file, part by part", _parts),
    "roofline": ("The roofline", _roofline),
    "batch": ("Batches", _batch),
    "frontier": ("Quality against cost", _frontier),
    "start": ("Start", _start),
    "memory": ("Memory", _memory),
    "review": ("A hundred thousand events", _review),
    "soak": ("A soak", _soak),
    "training": ("Training", _training),
    "audioset": ("AudioSet's records", _audioset),
    "films": ("Films", report_films.films),
    "fuzz": ("Broken films", report_films.fuzz),
}


if __name__ == "__main__":
    write()
