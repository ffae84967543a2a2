"""Plots of an evaluation: recall against false alarms and EBR, and the worst errors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from streamdet.detection.frames import FrameGrid
from train.evaluation import metrics, scene_metrics
from train.evaluation.scored_sets import KINDS, ScoredFile, group_by_kind, read_samples
from train.evaluation.spectrograms import draw_spectrogram

SIDE_S = 3.0
"""Seconds shown before and after a misjudged moment."""


@dataclass(frozen=True)
class MisjudgedMoment:
    """A miss or false alarm in a file: its time, its score and a description of the sound."""

    file: ScoredFile
    at_s: float
    score: float
    description: str


def find_worst_misses(
    grid: FrameGrid, files: Sequence[ScoredFile], threshold: float, count: int
) -> list[MisjudgedMoment]:
    """Find the true events with the lowest peak scores, of those below ``threshold``."""
    hop_s, found = grid.frame / grid.rate, []
    for file in files:
        scores = file.frames.scores[:, 0]
        for event in file.events:
            first = max(0, int((event.span[0] - metrics.COLLAR_S) / hop_s))
            last = int((event.span[1] + metrics.COLLAR_S) / hop_s) + 1
            score = float(scores[first:last].max(initial=0.0))
            if score < threshold:
                description = f"{event.group}, {_describe_level(file.kind, event.ebr_db)}"
                found.append(MisjudgedMoment(file, event.span[0], score, description))
    return sorted(found, key=lambda m: m.score)[:count]


def _describe_level(kind: str, ebr_db: str) -> str:
    if not ebr_db:
        return "distance not known"
    return f"{float(ebr_db):.0f} m" if kind == "city" else f"EBR {float(ebr_db):.0f} dB"


def find_worst_alarms(
    grid: FrameGrid, files: Sequence[ScoredFile], threshold: float, count: int
) -> list[MisjudgedMoment]:
    """Find the false alarms with the highest scores; of each known cause, only the highest."""
    hop_s, found = grid.frame / grid.rate, []
    for file in files:
        scores = file.frames.scores[:, 0]
        for alarm in metrics.find_alarms(scores, hop_s, threshold):
            hits, false = metrics.match_events([alarm], file.truth)
            if false and not any(hits):
                first, last = (round(t / hop_s) for t in alarm[:2])
                at_s = (first + int(np.argmax(scores[first : last + 1]))) * hop_s
                found.append(
                    MisjudgedMoment(file, at_s, alarm[2], scene_metrics.find_cause(alarm, file))
                )
    ranked, known = [], set()
    for moment in sorted(found, key=lambda m: -m.score):
        if moment.description not in known:
            ranked.append(moment)
            known |= {moment.description} - {scene_metrics.UNKNOWN}
    return ranked[:count]


def plot_timelines(
    grid: FrameGrid, moments: Sequence[MisjudgedMoment], threshold: float, to: Path
) -> None:
    """Write a sheet of spectrograms around each moment, with the score and true events."""
    columns = 2
    rows = max(1, -(-len(moments) // columns))
    figure = Figure(figsize=(11, 1.9 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis in axes:
        axis.set_axis_off()
    for axis, moment in zip(axes, moments, strict=False):
        axis.set_axis_on()
        _plot_timeline(grid, axis, moment, threshold)
    figure.supxlabel("seconds", fontsize=8)
    figure.supylabel("mel band; score from 0 to 1 in white, true events in green", fontsize=8)
    figure.savefig(to, dpi=90, pil_kwargs={"quality": 80})


def _plot_timeline(grid: FrameGrid, axis: Axes, moment: MisjudgedMoment, threshold: float) -> None:
    samples = read_samples(moment.file.path, grid.rate)
    start_s = max(0.0, moment.at_s - SIDE_S)
    first, last = int(start_s * grid.rate), int((moment.at_s + SIDE_S) * grid.rate)
    draw_spectrogram(axis, samples[first:last], start_s)
    score_axis, hop_s = axis.twinx(), grid.frame / grid.rate
    times = np.arange(len(moment.file.frames.level)) * hop_s
    shown = (times >= start_s) & (times <= moment.at_s + SIDE_S)
    score_axis.plot(times[shown], moment.file.frames.scores[shown, 0], color="white", linewidth=1.2)
    score_axis.axhline(threshold, color="white", linewidth=0.6, linestyle=":")
    for onset, offset in moment.file.truth:
        score_axis.axvspan(onset, offset, 0.0, 0.04, color="tab:green")
    score_axis.set_ylim(0.0, 1.0)
    axis.set_xlim(start_s, moment.at_s + SIDE_S)
    axis.set_title(f"{moment.file.name} at {moment.at_s:.1f} s: {moment.description}", fontsize=7)
    for each in (axis, score_axis):
        each.tick_params(labelsize=6)


def plot_det_curve(
    grid: FrameGrid,
    files: Sequence[ScoredFile],
    peers: dict[str, dict[str, list[tuple[float, float]]]],
    to: Path,
) -> None:
    """Write the DET curves of each kind of scene: misses against false alarms per hour.

    ``peers`` holds the curves of other detectors, by name and kind of scene, as (false alarms per
    hour, recall) pairs.
    """
    kinds = {k: v for k, v in group_by_kind(files).items() if k != "bursts"}
    figure = Figure(figsize=(5 * len(kinds), 3.8), layout="constrained")
    for axis, (kind, of_kind) in zip(
        figure.subplots(1, len(kinds), squeeze=False)[0], kinds.items(), strict=True
    ):
        hours = scene_metrics.total_hours(grid, of_kind)
        ours = [
            (r.false_alarms / hours, r.recall) for r in scene_metrics.compute_curve(grid, of_kind)
        ]
        others = {name: curves[kind] for name, curves in peers.items() if kind in curves}
        for name, pairs in {"streamdet": ours, **others}.items():
            rate, recall = np.array(sorted(pairs)).T
            axis.step(np.maximum(rate, 0.3), 1.0 - recall, where="post", label=name)
        axis.set_xscale("log")
        axis.set_xlim(0.3, 300)
        axis.set_ylim(0.0, 1.0)
        axis.set_xlabel("false alarms per hour")
        axis.set_ylabel("missed")
        axis.set_title(kind)
        axis.grid(visible=True, alpha=0.3)
        axis.legend()
    figure.savefig(to, dpi=110)


def plot_recall_by_ebr(
    grid: FrameGrid, files: Sequence[ScoredFile], threshold: float, to: Path
) -> None:
    """Write a plot of the share of events found at a threshold, by 6 dB of EBR."""
    figure = Figure(figsize=(6, 3.4), layout="constrained")
    axis = figure.subplots()
    hop_s = grid.frame / grid.rate
    for kind, of_kind in group_by_kind(files).items():
        if kind == "city":  # it has distances, not EBRs
            continue
        found: dict[float, list[bool]] = {}
        for file in of_kind:
            alarms = metrics.find_alarms(file.frames.scores[:, 0], hop_s, threshold)
            hits, _ = metrics.match_events(alarms, file.truth)
            for hit, event in zip(hits, file.events, strict=True):
                found.setdefault(6.0 * round(float(event.ebr_db) / 6.0), []).append(hit)
        ebrs = sorted(found)
        recall = [float(np.mean(found[e])) for e in ebrs]
        axis.plot(ebrs, recall, marker="o", label=kind)
        for ebr, share in zip(ebrs, recall, strict=True):
            axis.annotate(str(len(found[ebr])), (ebr, share), fontsize=7)
    axis.set_ylim(0.0, 1.05)
    axis.set_xlabel("event-to-background ratio, dB")
    axis.set_ylabel(f"found at threshold {threshold:.2f}")
    axis.grid(visible=True, alpha=0.3)
    axis.legend()
    figure.savefig(to, dpi=110)


def plot_reliability(metrics_by_kind: dict[str, Any], to: Path) -> None:
    """Write a reliability diagram: the share of seconds in which an event begins against their
    scores, for each kind of scene in the metrics of a report."""
    figure = Figure(figsize=(5, 4), layout="constrained")
    axis = figure.subplots()
    axis.plot([0, 1], [0, 1], color="gray", linewidth=0.8)
    for kind in (k for k in KINDS if k in metrics_by_kind):
        row = metrics_by_kind[kind]
        scores, truth, _ = np.array(row["reliability"]).T
        axis.plot(scores, truth, marker="o", label=f"{kind}: error {row['calibration_error']:.3f}")
    axis.set_xlabel("score")
    axis.set_ylabel("share of seconds with an event")
    axis.grid(visible=True, alpha=0.3)
    axis.legend()
    figure.savefig(to, dpi=110)
