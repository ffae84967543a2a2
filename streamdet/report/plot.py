"""Plots the gunshot score over the length of files, as PNG or SVG."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from streamdet.formats.table import format_clock
from streamdet.report.overview import FileOverview, tick_times

SUFFIXES = (".png", ".svg")


def draw_plot(overviews: Sequence[FileOverview], path: Path) -> None:
    """Draw a row per file into a PNG or SVG file. Raises OSError."""
    figure = Figure(figsize=(10.0, 0.6 + 2.0 * len(overviews)), layout="constrained")
    axes = figure.subplots(len(overviews), 1, squeeze=False)[:, 0]
    for axis, overview in zip(axes, overviews, strict=True):
        _draw_row(axis, overview)
    # no date and no random ids: the same events make the same file
    metadata = {"Date": None} if path.suffix.lower() == ".svg" else None
    with rc_context({"svg.hashsalt": "streamdet"}):
        figure.savefig(path, dpi=120, metadata=metadata)


def _draw_row(axis: Axes, overview: FileOverview) -> None:
    threshold, seconds = overview.threshold, overview.seconds
    times = (np.arange(len(overview.curve)) + 0.5) * overview.step_s
    axis.plot(times, overview.curve, linewidth=0.8, color="black", label="gunshot score")
    axis.axhline(threshold, color="tab:red", linewidth=0.8, linestyle="--", label="threshold")
    for i, reported in enumerate(overview.events):
        onset_s, end_s = reported.event.span_s
        end_s = max(end_s, onset_s + seconds / 500)
        label = "event" if not i else None
        axis.axvspan(onset_s, end_s, color="tab:red", alpha=0.35, linewidth=0, label=label)
    axis.set_xlim(0.0, max(seconds, overview.step_s))
    axis.set_ylim(0.0, 1.02)
    ticks = tick_times(seconds)
    axis.set_xticks(ticks, [format_clock(time)[:-4] for time in ticks])
    axis.set_title(Path(overview.name).name, fontsize=9, loc="left", parse_math=False)
    axis.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), fontsize=7, ncols=3, frameon=False)
    axis.grid(visible=True, alpha=0.3)
