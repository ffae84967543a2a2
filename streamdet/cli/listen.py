"""`streamdet listen`: gunshots in live sources."""

from __future__ import annotations

import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from streamdet.cli import options
from streamdet.cli.errors import EXIT_CODES, CommandError
from streamdet.pipeline.platform import Platform

if TYPE_CHECKING:
    from streamdet.config.layers import ConfigLayer
    from streamdet.config.schema import Config
    from streamdet.daemon.components import DaemonComponents, ReviewPage
    from streamdet.daemon.daemon import Daemon, RunSummary
    from streamdet.daemon.event_storage import EventStorage


class Phase(StrEnum):
    """Which of an event's two lines are printed."""

    both = "both"
    onset = "onset"
    final = "final"


class LogFormat(StrEnum):
    """How lines on stderr look."""

    text = "text"
    json = "json"


def listen(
    config: options.ConfigFile = None,
    settings: options.Settings = None,
    device: Annotated[
        str | None, typer.Option(help="Hear this input: its name, or part of it.")
    ] = None,
    url: Annotated[
        str | None, typer.Option(help="Hear this network stream: rtsp, http, srt, udp and others.")
    ] = None,
    pipe: Annotated[str | None, typer.Option(help="Hear this FIFO, or - for stdin.")] = None,
    file: Annotated[Path | None, typer.Option(help="Hear this file at its own pace.")] = None,
    realtime: Annotated[
        bool | None,
        typer.Option("--realtime/--no-realtime", help="Replay --file at its pace, or at once."),
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="What events and metrics call that source.")
    ] = None,
    threshold: options.Threshold = None,
    operating_point: options.Point = None,
    metrics: Annotated[
        str | None, typer.Option(help="HOST:PORT for Prometheus, or off; 127.0.0.1:9477.")
    ] = None,
    phase: Annotated[
        Phase | None,
        typer.Option(help="Print an event when heard (onset), when over (final), or both."),
    ] = None,
    channel: options.Channel = None,
    model: options.Model = None,
    platform: Annotated[
        Platform | None, typer.Option(help="Run by numpy, or by JAX on cpu, gpu or tpu.")
    ] = None,
    store: Annotated[
        Path | None, typer.Option(help="Keep every event in this event store, to be reviewed.")
    ] = None,
    clips: Annotated[
        Path | None, typer.Option(help="With --store: keep the sound of each in this folder.")
    ] = None,
    redact_speech: Annotated[
        bool, typer.Option("--redact-speech", help="Keep the shot's second alone where one speaks.")
    ] = False,
    web: Annotated[
        str | None, typer.Option(help="With --store: HOST:PORT of the review page (extra web).")
    ] = None,
    ring: Annotated[float | None, typer.Option(help="Seconds of audio that may wait.")] = None,
    stall: Annotated[float | None, typer.Option(help="Seconds without a sample: dead.")] = None,
    log: Annotated[LogFormat | None, typer.Option(help="Lines on stderr: text or json.")] = None,
    duration: Annotated[
        float | None, typer.Option(min=0.1, help="Stop after so many seconds of audio.")
    ] = None,
) -> None:
    """Print gunshots as JSON lines as they are heard, and count them for Prometheus.

    Without --device, --url, --pipe or --file it hears the sources of the configuration
    (/etc/streamdet/streamdet.toml, --config), and the default input where that has none. An
    event has two lines with one id: "phase":"onset" at once, "phase":"final" with its end
    and its rounds. SIGHUP reads the configuration anew; SIGINT or SIGTERM ends it: open
    events are closed, exit code 0.

    Example: streamdet listen --device "USB Audio" --metrics 127.0.0.1:9477
    """
    # before numpy: a step of live sound is too small to be shared out, and waiting threads spin
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from streamdet.config import layers
    from streamdet.config.layers import ConfigLayer

    source: dict[str, Any] = {"device": device, "url": url, "pipe": pipe, "file": file}
    kinds = [kind for kind, value in source.items() if value is not None]
    if len(kinds) > 1:
        raise CommandError(f"--{kinds[0]} and --{kinds[1]}: give one of them")
    own = _row(source, kinds, name, channel, realtime)
    layers_above = [
        *_flags(
            threshold,
            operating_point,
            metrics,
            phase,
            model,
            platform,
            ring,
            stall,
            log,
            store,
            clips,
            redact_speech or None,
            web,
        ),
    ]

    def read() -> Config:
        above = [*layers_above, layers.from_settings(settings or [])]
        if own:
            return layers.read_config(
                config, ConfigLayer("flags", {"sources": [own]}), *above, only_flags=True
            )
        return layers.read_config(config, *above)

    try:
        first = read()
        if not first.sources:
            own = own or {"name": name or "default", "device": "", **_given(channel=channel)}
            first = read()
        elif not own and (stray := _given(name=name, channel=channel, realtime=realtime)):
            raise CommandError(
                f"--{min(stray)}: of which source? Give --device, --url, --pipe or --file too, or "
                "set it in the configuration"
            )
        summary = _run(first, read, hasty=bool(own), duration=duration)
    except layers.ConfigError as error:
        raise CommandError("\nstreamdet: ".join(error.faults)) from error
    _end(summary)


def _row(
    source: dict[str, Any],
    kinds: list[str],
    name: str | None,
    channel: int | None,
    realtime: bool | None,
) -> dict[str, Any]:
    """The source of the flags, as a row of ``[[sources]]``; empty where they name none."""
    if not kinds:
        return {}
    kind = kinds[0]
    value = str(source[kind])
    called = name or _called(kind, value)
    return {"name": called, kind: value, **_given(channel=channel, realtime=realtime)}


def _called(kind: str, value: str) -> str:
    if kind == "url":
        from streamdet.audio.network import redact_url

        return redact_url(value)[:64]
    return ("stdin" if value == "-" else Path(value).name if kind == "file" else value)[:64] or kind


def _given(**values: Any) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}


def _flags(*values: Any) -> list[ConfigLayer]:
    """A layer for each flag that was given, so that what is wrong with it names it."""
    from streamdet.config.layers import ConfigLayer

    keys = (
        ("--threshold", "threshold"), ("--operating-point", "operating_point"),
        ("--metrics", "http.address"), ("--phase", "stdout.phase"), ("--model", "model"),
        ("--platform", "platform"), ("--ring", "ring_s"), ("--stall", "stall_s"),
        ("--log", "log.format"), ("--store", "store.path"), ("--clips", "clips.folder"),
        ("--redact-speech", "store.redact_speech"), ("--web", "web.address"),
    )  # fmt: skip
    made = []
    for (flag, key), value in zip(keys, values, strict=True):
        if value is not None:
            tree: Any = str(value) if isinstance(value, (StrEnum, Path)) else value
            for part in reversed(key.split(".")):
                tree = {part: tree}
            made.append(ConfigLayer(flag, tree))
    return made


def _run(config: Config, read: Any, *, hasty: bool, duration: float | None) -> RunSummary:
    from streamdet.config.layers import ConfigError
    from streamdet.daemon import builders
    from streamdet.daemon.daemon import Daemon
    from streamdet.daemon.log import DaemonLog

    bundle = builders.load_configured_bundle(config)
    log = DaemonLog(config.log.format, config.log.repeat_s)
    try:
        daemon = Daemon(config, bundle, log, read, hasty, duration, _page)
    except ConfigError:
        log.close()
        raise
    options.freeze_imports()
    summary = daemon.run()
    if summary.failure is None or summary.analysed_s:
        _say_what_was_heard(daemon, summary)
    daemon.components.log.close()
    return summary


def _page(config: Config, evidence: EventStorage, parts: DaemonComponents) -> ReviewPage:
    try:
        from streamdet.web.server import open_page
    except ImportError as error:
        from streamdet.config.layers import ConfigError

        raise ConfigError([f"web: {options.NO_WEB}"]) from error
    return open_page(config, evidence, parts)


def _say_what_was_heard(daemon: Daemon, summary: RunSummary) -> None:
    events = "event" if summary.events == 1 else "events"
    rounds = "round" if summary.rounds == 1 else "rounds"
    daemon.components.log.emit(
        "stopped",
        f"heard {summary.analysed_s:.1f} s, lost {summary.dropped_s:.1f} s: "
        f"{summary.events} {events}, {summary.rounds} {rounds}",
    )


def _end(summary: RunSummary) -> None:
    """Leave with the code of how it ended, whatever threads there still are."""
    code = 0
    if summary.failure is not None:
        sys.stderr.write(f"streamdet: {summary.failure}\n")
        code = EXIT_CODES[summary.reason]
    sys.stderr.flush()
    os._exit(code)
