"""The plots of benchmarks/README.md, from the benchmarks' results."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure


def write_plots(results: dict[str, dict[str, Any]], to: Path) -> None:
    """Write the plot of each benchmark that has results."""
    plots = {
        "streams": _plot_streams,
        "files": _plot_files,
        "batch": _plot_batch,
        "budgets": _plot_budgets,
        "frontier": _plot_frontier,
        "soak": _plot_soak,
    }
    for name, plot in plots.items():
        if name in results and "missing" not in results[name]["found"]:
            figure = Figure(figsize=(8, 4), layout="constrained")
            plot(figure.subplots(), results[name]["found"])
            figure.savefig(to / f"{name}.png", dpi=110)


def _plot_streams(axis: Axes, found: dict[str, Any]) -> None:
    counts = [row["streams"] for row in found["rows"]]
    for platform, label in (("numpy", "numpy"), ("cpu", "JAX")):
        shares = [row[platform]["share_of_core"] * 100 for row in found["rows"]]
        axis.plot(counts, shares, marker="o", label=label)
    axis.axhline(100, color="grey", linewidth=0.8)
    axis.set_yscale("log")
    _finish_plot(axis, "live streams", "% of one core", "Cost by streams")


def _plot_files(axis: Axes, found: dict[str, Any]) -> None:
    for platform, cores, label in (
        ("cpu", 1, "JAX, one core"),
        ("cpu", 2, "JAX, two cores"),
        ("numpy", 1, "numpy, one core"),
    ):
        rows = [r for r in found["rows"] if (r["platform"], r["cores"]) == (platform, cores)]
        minutes = [r["seconds"] / 60 for r in rows]
        speeds = [r["times_real_time"]["median"] for r in rows]
        axis.plot(minutes, speeds, marker="o", label=label)
    _finish_plot(
        axis, "length, minutes", "times real time, process start included", "Speed of a file"
    )


def _plot_batch(axis: Axes, found: dict[str, Any]) -> None:
    rows = found["microseconds_a_second"]
    for key, label in (
        ("numpy", "numpy"),
        ("cpu", "JAX"),
        ("onnxruntime_network", "onnxruntime, network only"),
    ):
        axis.plot([r["batch"] for r in rows], [r[key] for r in rows], marker="o", label=label)
    axis.set_ylim(0)
    _finish_plot(
        axis, "streams in a batch", "µs per second of sound", "Cost by batch size, one core"
    )


def _plot_budgets(axis: Axes, found: dict[str, Any]) -> None:
    rows = found["memory"]
    axis.plot([r["days"] for r in rows], [r["kb"] for r in rows], label="state of a source")
    axis.set_ylim(0)
    title = f"Size of a background, {found['events_an_hour']} events an hour"
    _finish_plot(axis, "simulated days", "kB", title, log=False)


def _plot_frontier(axis: Axes, found: dict[str, Any]) -> None:
    for kind, marker in (("rare", "o"), ("film", "s")):
        at = [(r["jax_us_a_second"], r[f"{kind}_recall_at_6_fa_h"]) for r in found["rows"]]
        axis.plot(*zip(*at, strict=True), marker=marker, linestyle="", label=f"{kind} scenes")
    for row in found["rows"]:
        axis.annotate(
            row["network"], (row["jax_us_a_second"], row["rare_recall_at_6_fa_h"]), fontsize=7
        )
    _finish_plot(
        axis, "µs per second of sound, one core", "recall at 6 FA/h, val", "Quality by cost"
    )


def _plot_soak(axis: Axes, found: dict[str, Any]) -> None:
    hours, sizes = zip(*found["hours_and_mb"], strict=True)
    axis.plot([60 * h for h in hours], sizes, marker=".", label="means over 30 s")
    axis.set_ylim(0, 1.2 * max(sizes))
    _finish_plot(axis, "minutes", "memory, MB", f"{found['streams']} streams", log=False)


def _finish_plot(axis: Axes, x: str, y: str, title: str, *, log: bool = True) -> None:
    if log:
        axis.set_xscale("log")
    axis.set_xlabel(x)
    axis.set_ylabel(y)
    axis.set_title(title)
    axis.grid(visible=True, alpha=0.3)
    axis.legend()
