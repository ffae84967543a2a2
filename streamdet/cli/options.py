"""Options that several commands share, and how they become a bundle and a decision."""

from __future__ import annotations

import gc
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from streamdet.cli.errors import CommandError
from streamdet.pipeline.platform import Platform, PlatformError

if TYPE_CHECKING:
    from streamdet.detection.decision import DecisionConfig
    from streamdet.detection.engine import StreamProvider
    from streamdet.model.bundle import Bundle
    from streamdet.pipeline.channels import ChannelMode
    from streamdet.scoring.labels import ShotLabel

EngineT = TypeVar("EngineT", bound="StreamProvider")

Threshold = Annotated[
    float | None, typer.Option(help="Probability that opens an event, above 0 and below 1.")
]
Point = Annotated[
    str | None,
    typer.Option("--operating-point", help="A threshold by name: sensitive, balanced, strict."),
]
Model = Annotated[
    Path | None, typer.Option(help="A bundle's folder, or a shipped one: second, tiny, first.")
]
PlatformOption = Annotated[
    Platform,
    typer.Option(
        "--platform",
        help="Run by numpy, or by JAX on cpu, gpu or tpu; auto: numpy, but JAX on the cpu for "
        "twenty minutes of files and more.",
    ),
]
ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--config",
        help="TOML; STREAMDET_CONFIG or /etc/streamdet/streamdet.toml if not given.",
    ),
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Set any key: --set sources.gate.gain_db=6."),
]
ChannelsOption = Annotated[
    str,
    typer.Option(
        "--channels",
        "--channel",
        help="Of several: auto (their mean and the loudest at once), mix (their mean), each (all, "
        "each with events of its own), or one alone, from 1.",
    ),
]
Channel = Annotated[
    int | None, typer.Option(help="Hear this channel alone, from 1; their mean if not given.")
]


StorePath = Annotated[Path, typer.Option("--store", help="The event store, an SQLite file.")]
ClipsPath = Annotated[
    Path | None,
    typer.Option("--clips", help="Where its clips are; <store>-clips beside it if not given."),
]
Since = Annotated[
    str | None, typer.Option(help="From this time on: ISO 8601, or 90m, 24h, 7d ago.")
]
Until = Annotated[str | None, typer.Option(help="Up to this time, the same.")]
SourceName = Annotated[str | None, typer.Option("--source", help="Of this source alone.")]


NO_WEB = "needs starlette, uvicorn and jinja2: pip install 'streamdet[web]'"


def load_bundle(model: Path | None) -> Bundle:
    """The bundle, or a Failure with its line."""
    from streamdet.model import bundle

    try:
        return bundle.load(model)
    except bundle.BundleError as error:
        raise CommandError(str(error)) from error


def decision_for(bundle: Bundle, threshold: float | None, point: str | None) -> DecisionConfig:
    """A threshold goes before a named point, and the bundle's default is last."""
    from streamdet.detection.decision import DecisionConfig
    from streamdet.detection.operating_point import ThresholdError, choose_threshold

    try:
        return DecisionConfig(choose_threshold(bundle, threshold, point))
    except ThresholdError as error:
        flags = " and ".join("--" + option.replace("_", "-") for option in error.options)
        raise CommandError(f"{flags}: {error.problem}") from error


def create_engine(build: Callable[[], EngineT]) -> EngineT:
    """What ``build`` gives, or a Failure with its line."""
    try:
        engine = build()
    except PlatformError as error:
        raise CommandError(str(error)) from error
    freeze_imports()
    return engine


def freeze_imports() -> None:
    """What is imported by now stays, and need not be looked through again and again."""
    gc.freeze()


def parse_clock(text: str | None, option: str) -> float | None:
    """Seconds from ``90``, ``1:30.5`` or ``1:02:03``; None from None."""
    if text is None:
        return None
    if not re.fullmatch(r"(\d+:)?(\d{1,2}:)?\d+(\.\d+)?", text):
        raise CommandError(f"{option} {text}: not a time; write seconds, or H:MM:SS")
    seconds = 0.0
    for part in text.split(":"):
        seconds = seconds * 60.0 + float(part)
    return seconds


def parse_when(text: str | None, option: str, now: float | None = None) -> float | None:
    """UTC seconds of an ISO 8601 time (UTC where it names no zone), or of ``30s``, ``90m``,
    ``24h``, ``7d`` ago; None from None."""
    if text is None:
        return None
    from streamdet.detection.event import parse_utc

    if ago := re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", text):
        unit = {"s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0}[ago[2]]
        return (time.time() if now is None else now) - float(ago[1]) * unit
    try:
        return parse_utc(text)
    except ValueError as error:
        raise CommandError(
            f"{option} {text}: no time; write 2026-11-22T19:54:03Z, or 24h or 7d for so long ago"
        ) from error


def parse_channel_option(text: str) -> ChannelMode:
    """What is heard of several channels, or a Failure with its line."""
    from streamdet.pipeline.channels import parse_channels

    try:
        return parse_channels(text)
    except ValueError as error:
        raise CommandError(f"--channels: {error}") from error


def read_labels(path: Path) -> list[ShotLabel]:
    """True shots, or a Failure with its line."""
    from streamdet.scoring.labels import LabelError, read_labels

    try:
        return read_labels(path)
    except LabelError as error:
        raise CommandError(f"--labels {error}") from error


def clips_folder(store: Path, clips: Path | None) -> Path:
    """Where a store's clips are: as given, else a folder beside it that is named after it."""
    return clips if clips is not None else store.with_name(f"{store.stem}-clips")
