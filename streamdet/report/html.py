"""A report for people in one HTML file that wants nothing else: no script, no network."""

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
"""Units of a timeline from its left to its right."""
_LABELS = 3


@dataclass(frozen=True)
class _TimelineMark:
    """An event on a timeline: from ``x``, ``width`` wide, in units."""

    x: float
    width: float
    anchor: str
    title: str


def render_report(overviews: Sequence[FileOverview]) -> str:
    """The page of some files."""
    environment = Environment(
        loader=PackageLoader("streamdet.report", ""), autoescape=True, undefined=StrictUndefined
    )
    environment.filters["clock"] = format_clock
    files = [_file(number, overview) for number, overview in enumerate(overviews, 1)]
    events = sum(len(overview.events) for overview in overviews)
    return environment.get_template("report.html").render(files=files, events=events, width=_WIDTH)


def _file(number: int, of: FileOverview) -> dict[str, Any]:
    seconds = max(of.seconds, of.step_s)
    cards = [_card(f"e{number}-{i}", moment) for i, moment in enumerate(of.events, 1)]
    marks = [
        _TimelineMark(
            _WIDTH * (moment.event.onset_s / seconds),
            max(2.0, _WIDTH * ((moment.event.offset_s or 0.0) - moment.event.onset_s) / seconds),
            card["anchor"],
            f"{format_clock(moment.event.onset_s)}, score {moment.event.detection.score:.2f}",
        )
        for moment, card in zip(of.events, cards, strict=True)
    ]
    return {
        "name": of.name,
        "seconds": of.seconds,
        "threshold": of.threshold,
        "fault": of.fault,
        "models": sorted({_model(moment) for moment in of.events}),
        "points": _points(of, seconds),
        "marks": marks,
        "ticks": [(_WIDTH * at / seconds, format_clock(at)[:-4]) for at in tick_times(seconds)],
        "cards": cards,
    }


def _card(anchor: str, moment: ReportedEvent) -> dict[str, Any]:
    event, d = moment.event, moment.event.detection
    others = sorted((v, k) for k, v in d.labels.items() if k != "gunshot")[::-1][:_LABELS]
    return {
        "anchor": anchor,
        "onset_s": event.onset_s,
        "offset_s": event.offset_s or event.onset_s,
        "rounds": d.rounds,
        "score": d.score,
        "level_dbfs": d.level_dbfs,
        "channel": d.channel,
        "time": event.record()["time"],
        "labels": [f"{label} {score:.2f}" for score, label in others],
        "picture": None if moment.spectrogram is None else _png(moment.spectrogram),
        "onset_share": None if moment.spectrogram is None else _onset_share(moment.spectrogram),
        "excerpt": None if moment.excerpt is None else base64.b64encode(moment.excerpt).decode(),
    }


def _points(of: FileOverview, seconds: float) -> str:
    """The curve as an SVG polyline 100 high, the highest of what falls on a unit."""
    curve = np.asarray(of.curve, np.float32)
    each = max(1, -(-len(curve) // _WIDTH))
    padded = np.pad(curve, (0, -len(curve) % each)).reshape(-1, each).max(axis=1)
    xs = _WIDTH * (np.arange(len(padded)) + 0.5) * each * of.step_s / seconds
    return " ".join(f"{x:.1f},{100 * (1 - y):.1f}" for x, y in zip(xs, padded, strict=True))


def _png(picture: Spectrogram) -> str:
    file = io.BytesIO()
    imsave(file, picture.levels.T, cmap="magma", vmin=0, vmax=255, origin="lower", format="png")
    return base64.b64encode(file.getvalue()).decode()


def _onset_share(picture: Spectrogram) -> float:
    """Where in a picture its event begins, from 0 to 100."""
    return 100.0 * picture.onset_s / max(picture.hop_s, len(picture.levels) * picture.hop_s)


def _model(moment: ReportedEvent) -> str:
    model = moment.event.model
    return f"{model.name} {model.version} ({model.sha256[:12]})"
