"""A report as one self-contained HTML file, without scripts and without network access."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib.image import imsave

from streamdet.formats.table import format_clock
from streamdet.model.spectrogram import Spectrogram
from streamdet.report.overview import FileOverview, ReportedEvent, tick_times

_WIDTH = 1_000
"""The width of a timeline, in SVG units."""
_LABELS = 3


@dataclass(frozen=True)
class _TimelineMark:
    """An event on a timeline. ``x`` is its left edge; ``x`` and ``width`` are in SVG units."""

    x: float
    width: float
    anchor: str
    title: str


def render_report(overviews: Sequence[FileOverview]) -> str:
    """Return the HTML page for some files."""
    environment = Environment(
        loader=PackageLoader("streamdet.report", ""), autoescape=True, undefined=StrictUndefined
    )
    environment.filters["clock"] = format_clock
    files = [_file_context(number, overview) for number, overview in enumerate(overviews, 1)]
    events = sum(len(overview.events) for overview in overviews)
    return environment.get_template("report.html").render(files=files, events=events, width=_WIDTH)


def _file_context(number: int, overview: FileOverview) -> dict[str, Any]:
    seconds = max(overview.seconds, overview.step_s)
    cards = [_card_context(f"e{number}-{i}", r) for i, r in enumerate(overview.events, 1)]
    marks = [
        _timeline_mark(reported, card["anchor"], seconds)
        for reported, card in zip(overview.events, cards, strict=True)
    ]
    ticks = tick_times(seconds)
    return {
        "name": overview.name,
        "seconds": overview.seconds,
        "threshold": overview.threshold,
        "fault": overview.fault,
        "models": sorted({_describe_model(reported) for reported in overview.events}),
        "points": _curve_points(overview, seconds),
        "marks": marks,
        "ticks": [(_WIDTH * time / seconds, format_clock(time)[:-4]) for time in ticks],
        "cards": cards,
    }


def _timeline_mark(reported: ReportedEvent, anchor: str, seconds: float) -> _TimelineMark:
    onset_s, end_s = reported.event.span_s
    title = f"{format_clock(onset_s)}, score {reported.event.detection.score:.2f}"
    width = max(2.0, _WIDTH * (end_s - onset_s) / seconds)
    return _TimelineMark(_WIDTH * (onset_s / seconds), width, anchor, title)


def _card_context(anchor: str, reported: ReportedEvent) -> dict[str, Any]:
    event, d, spectrogram = reported.event, reported.event.detection, reported.spectrogram
    onset_s, end_s = event.span_s
    others = sorted((v, k) for k, v in d.labels.items() if k != "gunshot")[::-1][:_LABELS]
    excerpt = reported.excerpt
    return {
        "anchor": anchor,
        "onset_s": onset_s,
        "end_s": end_s,
        "rounds": d.rounds,
        "score": d.score,
        "level_dbfs": d.level_dbfs,
        "channel": d.channel,
        "time": event.record()["time"],
        "labels": [f"{label} {score:.2f}" for score, label in others],
        "spectrogram": None if spectrogram is None else _encode_png(spectrogram),
        "onset_percent": None if spectrogram is None else _onset_percent(spectrogram),
        "excerpt": None if excerpt is None else base64.b64encode(excerpt).decode(),
    }


def _curve_points(overview: FileOverview, seconds: float) -> str:
    """Return the points of the curve as an SVG polyline of height 100.

    If several steps fall on one unit, the highest score counts.
    """
    curve = np.asarray(overview.curve, np.float32)
    group = max(1, -(-len(curve) // _WIDTH))
    highest = np.pad(curve, (0, -len(curve) % group)).reshape(-1, group).max(axis=1)
    xs = _WIDTH * (np.arange(len(highest)) + 0.5) * group * overview.step_s / seconds
    return " ".join(f"{x:.1f},{100 * (1 - y):.1f}" for x, y in zip(xs, highest, strict=True))


def _encode_png(spectrogram: Spectrogram) -> str:
    file = io.BytesIO()
    imsave(file, spectrogram.levels.T, cmap="magma", vmin=0, vmax=255, origin="lower", format="png")
    return base64.b64encode(file.getvalue()).decode()


def _onset_percent(spectrogram: Spectrogram) -> float:
    """Return the position of the onset in the width of a spectrogram, in percent."""
    length_s = len(spectrogram.levels) * spectrogram.hop_s
    return 100.0 * spectrogram.onset_s / max(spectrogram.hop_s, length_s)


def _describe_model(reported: ReportedEvent) -> str:
    model = reported.event.model
    return f"{model.name} {model.version} ({model.sha256[:12]})"
