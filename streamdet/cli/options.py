"""Options that several commands share, and functions that turn option values into objects.

The functions raise CommandError with a line that names the option.
"""

from __future__ import annotations

import gc
import re
import time
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from streamdet.cli.errors import CommandError
from streamdet.pipeline.platform import Platform, PlatformError

if TYPE_CHECKING:
    from streamdet.detection.decision import DecisionConfig
    from streamdet.model.bundle import Bundle
    from streamdet.pipeline.budget_threshold import BudgetSetup
    from streamdet.pipeline.channels import ChannelMode
    from streamdet.scoring.labels import ShotLabel

CreatedT = TypeVar("CreatedT")

MISSING_WEB = "needs Starlette, Uvicorn and Jinja2: pip install 'streamdet[web]'"

ThresholdOption = Annotated[
    float | None,
    typer.Option(
        "--threshold", metavar="P", help="Probability that starts an event, above 0 and below 1.",
        show_default="that of the operating point",
    ),
]  # fmt: skip
OperatingPointOption = Annotated[
    str | None,
    typer.Option(
        "--operating-point", metavar="NAME",
        help="Fixed threshold of the bundle: sensitive, balanced or strict, with 1 false alarm an "
        "hour, a day or a week in varied ambience.",
        show_default="the bundle's default",
    ),
]  # fmt: skip

FalseAlarmsOption = Annotated[
    str | None,
    typer.Option(
        "--false-alarms", metavar="BUDGET",
        help="Budget of false alarms, such as 1/day, 2/h or 0.5/week. The threshold of each source "
        "or file follows from its background.",
        show_default="a fixed threshold",
    ),
]  # fmt: skip


class Switch(StrEnum):
    """The value of an option that is on or off."""

    on = "on"
    off = "off"


VerifyOption = Annotated[
    Switch,
    typer.Option(
        "--verify",
        help="Score each candidate again with the second stage of the bundle, if it has one.",
    ),
]
ModelOption = Annotated[
    Path | None,
    typer.Option(
        "--model", metavar="BUNDLE",
        help="Folder of a model bundle, or a shipped one: third, or tiny (one stage, for small "
        "machines).",
        show_default="third",
    ),
]  # fmt: skip
PlatformOption = Annotated[
    Platform,
    typer.Option(
        "--platform",
        help="Run the network with numpy, with onnxruntime (onnx), or with JAX on cpu, gpu or tpu. "
        "auto is numpy for live audio and up to 5 minutes of files, onnx for more, and cpu for "
        "taggers.",
    ),
]
TimingOption = Annotated[
    float,
    typer.Option(
        metavar="MS",
        min=0.1,
        max=1_000.0,
        help="Standard deviation of an arrival time in milliseconds: clock, wind and detours.",
    ),
]
TemperatureOption = Annotated[
    float,
    typer.Option(metavar="C", min=-60.0, max=60.0, help="Air temperature in degrees Celsius."),
]
ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config", metavar="FILE", help="Configuration file, TOML.",
        show_default="$STREAMDET_CONFIG, else /etc/streamdet/streamdet.toml if it exists",
    ),
]  # fmt: skip
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE",
        help="Set a configuration key, such as sources.gate.gain_db=6. Overrides file and "
        "environment. Can be repeated.",
    ),
]  # fmt: skip
ChannelsOption = Annotated[
    str,
    typer.Option(
        "--channels", "--channel", metavar="MODE",
        help="Channels to analyse: auto (the mean of all and the loudest one, frame by frame the "
        "higher score), mix (the mean), each (every channel separately, with its own events), or a "
        "channel number from 1.",
    ),
]  # fmt: skip
LabelsOption = Annotated[
    Path | None,
    typer.Option(
        "--labels", metavar="FILE",
        help="True shots: CSV with onset_s, an Audacity label track, a Raven selection table, or "
        "10 s windows (docs/films.md). Prints precision, recall and false positives to stderr. An "
        "event within 0.5 s of a label is true.",
    ),
]  # fmt: skip
ListOption = Annotated[
    list[str] | None,
    typer.Option(
        "--list", metavar="FILE",
        help="Read paths from this file, one per line; - is stdin. Lines that start with # are "
        "skipped. Can be repeated.",
    ),
]  # fmt: skip
TrackOption = Annotated[
    str | None,
    typer.Option(
        "--track", metavar="TRACK",
        help="Audio track: its number from 1, or a language such as eng. Needs the extra media.",
        show_default="1",
    ),
]  # fmt: skip
StoreOption = Annotated[
    Path, typer.Option("--store", metavar="DB", help="Event store, an SQLite file.")
]
ClipsOption = Annotated[
    Path | None,
    typer.Option(
        "--clips", metavar="DIR", help="Folder with the clips of the store.",
        show_default="<store>-clips beside the store",
    ),
]  # fmt: skip
SinceOption = Annotated[
    str | None,
    typer.Option(
        "--since", metavar="TIME",
        help="Only events at or after this time: ISO 8601 (UTC if it has no zone), or an age such "
        "as 90m, 24h or 7d.",
    ),
]  # fmt: skip
UntilOption = Annotated[
    str | None,
    typer.Option(
        "--until", metavar="TIME", help="Only events before this time, in the same forms."
    ),
]
SourceOption = Annotated[
    str | None, typer.Option("--source", metavar="NAME", help="Only events of this source.")
]


def load_bundle(model: Path | None) -> Bundle:
    """The bundle in a folder or of a shipped name. None is the default bundle."""
    from streamdet.model import bundle

    try:
        return bundle.load(model)
    except bundle.BundleError as error:
        raise CommandError(str(error)) from error


def decision_for(
    bundle: Bundle, threshold: float | None, point: str | None, *, verify: bool = True
) -> DecisionConfig:
    """The decision at a threshold or a named operating point, else at the bundle's default."""
    from streamdet.detection.decision import DecisionConfig
    from streamdet.detection.operating_point import ThresholdError, choose_threshold

    try:
        return DecisionConfig(choose_threshold(bundle, threshold, point, verify=verify))
    except ThresholdError as error:
        flags = " and ".join("--" + option.replace("_", "-") for option in error.options)
        raise CommandError(f"{flags}: {error.problem}") from error


def budget_for(
    bundle: Bundle, false_alarms: str | None, *others: object, verify: bool = True
) -> BudgetSetup | None:
    """The budget of ``--false-alarms``, None without it. ``others``: the values of ``--threshold``
    and ``--operating-point``, which it excludes."""
    if false_alarms is None:
        return None
    if any(value is not None for value in others):
        raise CommandError("--false-alarms: give it without --threshold and --operating-point")
    from streamdet.budget import parse_budget
    from streamdet.detection.background_format import BackgroundError
    from streamdet.pipeline.budget_threshold import set_up_budget

    try:
        return set_up_budget(bundle, parse_budget(false_alarms), verify=verify)
    except BackgroundError as error:
        raise CommandError(f"--false-alarms: {bundle.name}: {error}") from error
    except ValueError as error:
        raise CommandError(f"--false-alarms: {error}") from error


def create_on_platform(build: Callable[[], CreatedT]) -> CreatedT:
    """Call ``build``, which creates an engine or a scorer."""
    try:
        created = build()
    except PlatformError as error:
        raise CommandError(str(error)) from error
    freeze_imports()
    return created


def freeze_imports() -> None:
    """Exclude the objects of all imported modules from garbage collection, which saves CPU."""
    gc.freeze()


def parse_clock(text: str | None, option: str) -> float | None:
    """Seconds from ``90``, ``1:30.5`` or ``1:02:03``. None gives None."""
    if text is None:
        return None
    if not re.fullmatch(r"(\d+:)?(\d{1,2}:)?\d+(\.\d+)?", text):
        raise CommandError(f"{option} {text}: not a time. Use seconds (90.5) or H:MM:SS")
    seconds = 0.0
    for part in text.split(":"):
        seconds = seconds * 60.0 + float(part)
    return seconds


def parse_when(text: str | None, option: str, now: float | None = None) -> float | None:
    """UTC seconds of an ISO 8601 time, or of an age such as ``90m`` before ``now``.

    A time without a zone is UTC. Ages are in s, m, h or d. None gives None.
    """
    if text is None:
        return None
    from streamdet.detection.event import parse_utc

    if age := re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", text):
        unit = {"s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0}[age[2]]
        return (time.time() if now is None else now) - float(age[1]) * unit
    try:
        return parse_utc(text)
    except ValueError as error:
        raise CommandError(
            f"{option} {text}: not a time. Use ISO 8601 (2026-11-22T19:54:03Z) or an age (24h, 7d)"
        ) from error


def parse_channel_option(text: str) -> ChannelMode:
    """The channel mode that ``--channels`` names."""
    from streamdet.pipeline.channels import parse_channels

    try:
        return parse_channels(text)
    except ValueError as error:
        raise CommandError(f"--channels: {error}") from error


def read_labels(path: Path | None) -> list[ShotLabel] | None:
    """The true shots of a label file. None gives None."""
    if path is None:
        return None
    from streamdet.scoring import labels

    try:
        return labels.read_labels(path)
    except labels.LabelError as error:
        raise CommandError(f"--labels {error}") from error


def clips_folder(store: Path, clips: Path | None) -> Path:
    """The folder with the clips of a store: ``clips``, or ``<store>-clips`` beside the store."""
    return clips if clips is not None else store.with_name(f"{store.stem}-clips")
