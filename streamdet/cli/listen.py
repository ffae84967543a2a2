"""`streamdet listen`: gunshots in live sources."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streamdet.cli import listen_options, options
from streamdet.cli.errors import EXIT_CODE_BY_REASON, CommandError
from streamdet.pipeline.platform import Platform

if TYPE_CHECKING:
    from streamdet.config.schema import Config
    from streamdet.daemon.components import DaemonComponents, ReviewPage
    from streamdet.daemon.daemon import Daemon, RunSummary
    from streamdet.daemon.event_storage import EventStorage


class Tell(StrEnum):
    """The stage whose events stdout gets."""

    onset = "onset"
    verified = "verified"


class Phase(StrEnum):
    """The lines of an event that are printed."""

    both = "both"
    onset = "onset"
    final = "final"


class LogFormat(StrEnum):
    """The format of log lines on stderr."""

    text = "text"
    json = "json"


def listen(
    config: options.ConfigOption = None,
    settings: options.SetOption = None,
    device: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Analyse this audio input: its name, or a part of it that no other has.",
        ),
    ] = None,
    url: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Analyse this network stream: rtsp, http, https, srt, udp and others (extra "
            "media).",
        ),
    ] = None,
    pipe: Annotated[
        str | None,
        typer.Option(
            metavar="PATH",
            help="Analyse WAV or raw PCM from this FIFO; - is stdin. Set the rate of raw PCM in Hz "
            "with --set sources.NAME.rate=48000.",
        ),
    ] = None,
    file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Analyse this file as if it were live.")
    ] = None,
    realtime: Annotated[
        bool | None,
        typer.Option(
            "--realtime/--no-realtime",
            help="Read --file at its own pace, or as fast as possible.",
            show_default="--realtime",
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT",
            help="Name of the source in events and metrics.",
            show_default="the value of --device, --url without its password, --pipe or --file",
        ),
    ] = None,
    threshold: options.ThresholdOption = None,
    operating_point: options.OperatingPointOption = None,
    false_alarms: options.FalseAlarmsOption = None,
    verify: Annotated[
        options.Switch | None,
        typer.Option(
            help="Score each candidate again with the second stage of the bundle, if it has one.",
            show_default="on",
        ),
    ] = None,
    tell: Annotated[
        Tell | None,
        typer.Option(
            help="When to print an event: at its onset, or once the second stage has verified it.",
            show_default="onset",
        ),
    ] = None,
    metrics: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            help="Address of /metrics, /healthz and /readyz, or off.",
            show_default="127.0.0.1:9477",
        ),
    ] = None,
    phase: Annotated[
        Phase | None,
        typer.Option(
            help="Lines to print for each event: at its onset, when it is final, or both.",
            show_default="both",
        ),
    ] = None,
    channel: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Analyse only this channel, from 1.",
            show_default="the mean of all channels",
        ),
    ] = None,
    model: options.ModelOption = None,
    platform: Annotated[
        Platform | None,
        typer.Option(
            help="Run the network with numpy, or with JAX on cpu, gpu or tpu. auto is numpy, and "
            "JAX on the CPU for taggers.",
            show_default="auto",
        ),
    ] = None,
    store: Annotated[
        Path | None,
        typer.Option(
            metavar="DB", help="Store the events in this event store, for `streamdet review`."
        ),
    ] = None,
    clips: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="With --store: record the sound of each event to this folder."
        ),
    ] = None,
    redact_speech: Annotated[
        bool,
        typer.Option(
            "--redact-speech",
            help="With --clips: keep only the second of the shot if speech is detected near it.",
        ),
    ] = False,
    web: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            help="With --store: serve the review page at this address (extra web).",
        ),
    ] = None,
    ring: Annotated[
        float | None,
        typer.Option(
            metavar="S", help="Seconds of audio that are buffered per source.", show_default="10"
        ),
    ] = None,
    stall: Annotated[
        float | None,
        typer.Option(
            metavar="S",
            help="Reconnect a source after this many seconds without a sample.",
            show_default="5",
        ),
    ] = None,
    log: Annotated[
        LogFormat | None,
        typer.Option(help="Format of the log lines on stderr.", show_default="text"),
    ] = None,
    duration: Annotated[
        float | None,
        typer.Option(
            metavar="S",
            min=0.1,
            help="Stop after this many seconds of audio.",
            show_default="run until stopped",
        ),
    ] = None,
) -> None:
    """Detect gunshots in live audio, print them as JSON lines and count them for Prometheus.

    Analyses the source of --device, --url, --pipe or --file. Without any of them, it analyses the
    sources of the configuration or, if that has none, the default input. docs/operate.md describes
    the configuration, the outputs, the metrics and the alerts.

    Each event is printed twice with the same id: at once with "phase":"onset", and with
    "phase":"final" when it is over.

    If the source given by an option cannot be opened at the start, the command exits with code 2,
    69 or 75. Sources of the configuration, and all sources that are lost later, are retried. With
    give_up_s, the command exits once a required source has been without audio for that long.

    SIGHUP reloads the configuration. SIGINT and SIGTERM stop the command: open events are closed,
    outputs get 3 seconds to deliver their events, and a summary goes to stderr.

    Examples:

    \b
      streamdet listen --device "USB Audio" --name gate | tee -a events.jsonl
      streamdet listen --url rtsp://camera.lan/stream --metrics off
      streamdet listen --config streamdet.toml --store events.db --web 127.0.0.1:9478
      arecord -t raw -f S16_LE -r 16000 | streamdet listen --pipe -
    """
    from streamdet.config import layers
    from streamdet.config.layers import ConfigLayer

    locations = {
        key: value
        for key, value in (("device", device), ("url", url), ("pipe", pipe), ("file", file))
        if value is not None
    }
    if len(locations) > 1:
        first_option, second_option, *_ = locations
        raise CommandError(f"--{first_option} and --{second_option}: give one of them")
    source_options = listen_options.without_none(name=name, channel=channel, realtime=realtime)
    option_source = listen_options.option_source(locations, source_options)
    option_layers = listen_options.option_layers({
        "--threshold": threshold, "--operating-point": operating_point,
        "--false-alarms": false_alarms,
        "--verify": verify, "--tell": tell, "--metrics": metrics,
        "--phase": phase, "--model": model, "--platform": platform, "--ring": ring,
        "--stall": stall, "--log": log, "--store": store, "--clips": clips,
        "--redact-speech": redact_speech or None, "--web": web,
    })  # fmt: skip

    def read_config() -> Config:
        upper_layers = [*option_layers, layers.from_settings(settings or [])]
        if option_source:
            source_layer = ConfigLayer("options", {"sources": [option_source]})
            return layers.read_config(config, source_layer, *upper_layers, only_flags=True)
        return layers.read_config(config, *upper_layers)

    try:
        first_config = read_config()
        if not first_config.sources:
            if not option_source:
                option_source = {"name": name or "default", "device": ""}
                option_source |= listen_options.without_none(channel=channel)
            first_config = read_config()
        elif not option_source and source_options:
            raise CommandError(
                f"--{min(source_options)}: needs --device, --url, --pipe or --file. Set it in the "
                "configuration for other sources"
            )
        summary = _run_daemon(first_config, read_config, bool(option_source), duration)
    except layers.ConfigError as error:
        raise CommandError("\nstreamdet: ".join(error.faults)) from error
    _exit(summary)


def _run_daemon(
    config: Config,
    read_config: Callable[[], Config],
    fail_fast: bool,
    duration_s: float | None,
) -> RunSummary:
    from streamdet.config.layers import ConfigError
    from streamdet.daemon import builders
    from streamdet.daemon.daemon import Daemon
    from streamdet.daemon.log import DaemonLog

    bundle = builders.load_configured_bundle(config)
    log = DaemonLog(config.log.format, config.log.repeat_s)
    try:
        daemon = Daemon(config, bundle, log, read_config, fail_fast, duration_s, _open_review_page)
    except ConfigError:
        log.close()
        raise
    options.freeze_imports()
    summary = daemon.run()
    if summary.failure is None or summary.analysed_s:
        _log_summary(daemon, summary)
    daemon.components.log.close()
    return summary


def _open_review_page(
    config: Config, storage: EventStorage, components: DaemonComponents
) -> ReviewPage:
    try:
        from streamdet.web.server import open_page
    except ImportError as error:
        from streamdet.config.layers import ConfigError

        raise ConfigError([f"web: {options.MISSING_WEB}"]) from error
    return open_page(config, storage, components)


def _log_summary(daemon: Daemon, summary: RunSummary) -> None:
    events = "event" if summary.events == 1 else "events"
    rounds = "round" if summary.rounds == 1 else "rounds"
    daemon.components.log.emit(
        "stopped",
        f"analysed {summary.analysed_s:.1f} s, dropped {summary.dropped_s:.1f} s: "
        f"{summary.events} {events}, {summary.rounds} {rounds}",
    )


def _exit(summary: RunSummary) -> None:
    """End the process at once, also if threads of a source still run."""
    code = 0
    if summary.failure is not None:
        sys.stderr.write(f"streamdet: {summary.failure}\n")
        code = EXIT_CODE_BY_REASON[summary.reason]
    sys.stderr.flush()
    os._exit(code)
