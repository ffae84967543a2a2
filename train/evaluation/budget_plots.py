"""Plots of budgets: estimated and counted rates, recall, and thresholds over time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from streamdet.detection import background
from streamdet.detection.background import logit
from train.evaluation.budget_outcomes import HOUR_S, Outcome
from train.evaluation.budget_scenes import QUARTER_S, SceneOutcome
from train.evaluation.budgets import BUDGETS, PlaceOutcome
from train.evaluation.metrics import match_events

TICKS = (0.01, 0.1, 0.5, 0.9, 0.99, 0.999, 0.9999)
_LOWEST_RATE_H = 1e-3


def plot_rates(measured: Sequence[PlaceOutcome], to: Path) -> None:
    """Write the estimated and the counted false alarms per hour against the threshold, for each
    place."""
    rows = -(-len(measured) // 3)
    figure = Figure(figsize=(12, 3.0 * rows), layout="constrained")
    axes = figure.subplots(rows, 3, squeeze=False).ravel()
    for axis in axes[len(measured) :]:
        axis.set_axis_off()
    levels = background.levels()
    for axis, each in zip(axes, measured, strict=False):
        for rates, label in (
            (each.curves.counted, "counted, measured stream"),
            (each.curves.estimated, "estimated after adaptation"),
        ):
            shown = np.where(rates > 0.0, rates * HOUR_S, np.nan)
            axis.plot(levels, shown, label=label)
        for per_hour in (1.0, 1.0 / 24.0):
            axis.axhline(per_hour, color="gray", linewidth=0.7, linestyle=":")
        axis.set_yscale("log")
        axis.set_ylim(_LOWEST_RATE_H, 2_000.0)
        _set_logit_axis(axis, vertical=False)
        axis.set_title(each.place.name, fontsize=9)
        axis.grid(visible=True, alpha=0.3)
    axes[0].legend(fontsize=7)
    figure.supxlabel("threshold", fontsize=9)
    figure.supylabel("false alarms per hour", fontsize=9)
    figure.savefig(to, dpi=110)


def plot_recall(measured: Sequence[PlaceOutcome], settings: Sequence[str], to: Path) -> None:
    """Write the share of shots found by EBR, for some settings in each place."""
    figure = Figure(figsize=(2.6 * len(measured), 3.0), layout="constrained")
    axes = figure.subplots(1, len(measured), squeeze=False, sharey=True)[0]
    for axis, each in zip(axes, measured, strict=True):
        for outcome in (o for o in each.outcomes if o.setting in settings):
            shares = [hits / count for hits, count in outcome.found.values()]
            ebrs = [float(name) for name in outcome.found]
            axis.plot(ebrs, shares, marker="o", markersize=3, label=outcome.setting)
        axis.set_title(each.place.name, fontsize=9)
        axis.set_ylim(-0.02, 1.05)
        axis.grid(visible=True, alpha=0.3)
    axes[0].legend(fontsize=6)
    figure.supxlabel("event-to-background ratio, dB", fontsize=9)
    figure.supylabel("found", fontsize=9)
    figure.savefig(to, dpi=110)


def plot_false_alarms(by_place: dict[str, Sequence[Outcome]], to: Path) -> None:
    """Write the false alarms per hour of every setting in every place, with their intervals."""
    outcomes = next(iter(by_place.values()))
    settings = [o.setting for o in outcomes]
    figure = Figure(figsize=(9, 0.42 * len(settings) + 1.2), layout="constrained")
    axis = figure.subplots()
    for k, (name, rows) in enumerate(by_place.items()):
        at = np.arange(len(rows)) + 0.1 * (k - len(by_place) / 2)
        rates = np.array([max(o.rate_h, _LOWEST_RATE_H) for o in rows])
        low, high = np.maximum(np.array([o.interval_h for o in rows]).T, _LOWEST_RATE_H)
        axis.errorbar(
            rates, at, xerr=[rates - np.minimum(low, rates), np.maximum(high, rates) - rates],
            fmt="o", markersize=3, linewidth=0.8, label=name,
        )  # fmt: skip
    for i, outcome in enumerate(outcomes):
        if outcome.budget is not None:
            asked = outcome.budget * HOUR_S
            axis.plot([asked / 2, asked * 2], [i, i], color="black", linewidth=6, alpha=0.15)
    axis.set_xscale("log")
    axis.set_yticks(range(len(settings)), settings, fontsize=8)
    axis.invert_yaxis()
    axis.set_xlabel("false alarms per hour; gray: within a factor of two of the budget")
    axis.grid(visible=True, axis="x", alpha=0.3)
    axis.legend(fontsize=7)
    figure.savefig(to, dpi=110)


def plot_scene(scene: SceneOutcome, to: Path) -> None:
    """Write the thresholds of a stream over time, its shots, and its false alarms an hour in each
    quarter of an hour."""
    figure = Figure(figsize=(11, 5.5), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    stop = scene.stream.seconds
    edges = np.arange(0.0, stop, QUARTER_S)
    for k, text in enumerate(BUDGETS):
        run = scene.played[text]
        hours = np.arange(len(run.thresholds)) * stop / len(run.thresholds) / HOUR_S
        upper.step(hours, logit(np.array(run.thresholds)), where="post", label=text)
        rates = [
            scene.count(text, (at, at + QUARTER_S)).false_alarms * HOUR_S / QUARTER_S
            for at in edges
        ]
        width = QUARTER_S / HOUR_S / (len(BUDGETS) + 1)
        lower.bar(edges / HOUR_S + (k + 0.5) * width, rates, width, align="edge", label=text)
    hits, _ = match_events(scene.played[BUDGETS[0]].alarms, scene.stream.spans)
    for found, marker, colour in ((True, "|", "tab:green"), (False, "x", "tab:red")):
        at = [onset / HOUR_S for (onset, _), hit in zip(scene.stream.spans, hits, strict=True)
              if hit == found]  # fmt: skip
        label = f"shot {'found' if found else 'missed'} at {BUDGETS[0]}"
        upper.plot(at, [-4.4] * len(at), marker, color=colour, label=label)
    for axis in (upper, lower):
        for phase in scene.phases[1:]:
            axis.axvline(phase.start_s / HOUR_S, color="gray", linewidth=0.8)
        axis.grid(visible=True, alpha=0.3)
        axis.legend(fontsize=7, loc="upper right")
    for phase in scene.phases:
        upper.text(phase.start_s / HOUR_S + 0.03, 9.3, phase.place, fontsize=8)
    _set_logit_axis(upper, vertical=True)
    upper.set_ylim(-5.0, 10.2)
    upper.set_ylabel("threshold")
    lower.set_ylabel("false alarms per hour")
    lower.set_xlabel("hours")
    figure.savefig(to, dpi=110)


def _set_logit_axis(axis: Axes, *, vertical: bool) -> None:
    at, names = [float(logit(p)) for p in TICKS], [f"{p:g}" for p in TICKS]
    if vertical:
        axis.set_yticks(at, names)
    else:
        axis.set_xticks(at, names, fontsize=7)
        axis.set_xlim(-5.0, 10.0)
