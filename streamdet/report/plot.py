"""The scores of files over their length, as a picture for a page or a paper."""

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


def draw_plot(overviews: Sequence[FileOverview], to: Path) -> None:
    """A row for each file into a PNG or SVG file; raises OSError."""
    figure = Figure(figsize=(10.0, 0.6 + 2.0 * len(overviews)), layout="constrained")
    axes = figure.subplots(len(overviews), 1, squeeze=False)[:, 0]
    for axis, overview in zip(axes, overviews, strict=True):
        _row(axis, overview)
    # no date and no random ids in it: the same events make the same file
    metadata = {"Date": None} if to.suffix.lower() == ".svg" else None
    with rc_context({"svg.hashsalt": "streamdet"}):
        figure.savefig(to, dpi=120, metadata=metadata)


def _row(axis: Axes, of: FileOverview) -> None:
    times = (np.arange(len(of.curve)) + 0.5) * of.step_s
    axis.plot(times, of.curve, linewidth=0.8, color="black", label="gunshot score")
    axis.axhline(of.threshold, color="tab:red", linewidth=0.8, linestyle="--", label="threshold")
    for i, moment in enumerate(of.events):
        event = moment.event
        end_s = max(event.offset_s or 0.0, event.onset_s + of.seconds / 500)
        label = "event" if not i else None
        axis.axvspan(event.onset_s, end_s, color="tab:red", alpha=0.35, linewidth=0, label=label)
    axis.set_xlim(0.0, max(of.seconds, of.step_s))
    axis.set_ylim(0.0, 1.02)
    at = tick_times(of.seconds)
    axis.set_xticks(at, [format_clock(each)[:-4] for each in at])
    axis.set_title(Path(of.name).name, fontsize=9, loc="left", parse_math=False)
    axis.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), fontsize=7, ncols=3, frameon=False)
    axis.grid(visible=True, alpha=0.3)
