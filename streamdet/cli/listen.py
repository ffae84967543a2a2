"""`streamdet listen`: gunshots in a live device."""

from __future__ import annotations

import os
import sys
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from streamdet.cli import options
from streamdet.cli.failure import CODES, Failure, quiet_pipe
from streamdet.service.platform import Platform

if TYPE_CHECKING:
    from streamdet.detect.event import Event
    from streamdet.service.daemon import Summary


class Phase(StrEnum):
    """Which of an event's two lines are printed."""

    both = "both"
    onset = "onset"
    final = "final"


def listen(
    device: Annotated[
        str | None, typer.Option(help="Name, or part of it; the default input if not given.")
    ] = None,
    threshold: options.Threshold = None,
    operating_point: options.Point = None,
    metrics: Annotated[
        str, typer.Option(help="HOST:PORT for Prometheus, or off.")
    ] = "127.0.0.1:9477",
    name: Annotated[
        str | None, typer.Option(help="What events and metrics call it; the device's name if not.")
    ] = None,
    phase: Annotated[
        Phase, typer.Option(help="Print an event when heard (onset), when over (final), or both.")
    ] = Phase.both,
    channel: options.Channel = None,
    model: options.Model = None,
    platform: options.PlatformOption = Platform.auto,
    ring: Annotated[float, typer.Option(min=1.0, help="Seconds of audio that may wait.")] = 10.0,
    stall: Annotated[float, typer.Option(min=0.5, help="Seconds without a sample: dead.")] = 5.0,
    duration: Annotated[
        float | None, typer.Option(min=0.1, help="Stop after so many seconds of audio.")
    ] = None,
) -> None:
    """Print gunshots as JSON lines as they are heard, and count them for Prometheus.

    An event has two lines with one id: "phase":"onset" at once, "phase":"final" with its
    end and its rounds. SIGINT or SIGTERM ends it: open events are closed, exit code 0.

    Example: streamdet listen --device "USB Audio" --metrics 127.0.0.1:9477
    """
    host, port = parse_address(metrics)
    bundle = options.load_bundle(model)
    decision = options.decision_for(bundle, threshold, operating_point)

    from streamdet.audio import device as audio
    from streamdet.audio.source import SourceError
    from streamdet.detect.event import ModelName
    from streamdet.service import engines
    from streamdet.service.daemon import Daemon, ListenConfig
    from streamdet.service.metrics import Metrics, MetricsError, serve
    from streamdet.sinks import JsonlSink

    try:
        chosen = audio.choose(audio.devices(), device)
    except SourceError as error:
        raise Failure(str(error), CODES[error.reason]) from error
    if channel is not None and not 1 <= channel <= chosen.channels:
        raise Failure(f"--channel {channel}: {chosen.name} has 1 to {chosen.channels}")
    label = name or chosen.name
    counted = Metrics(ModelName(bundle.name, bundle.version, bundle.sha256), [label])
    server = None
    if host is not None:
        try:
            server = serve(counted, host, port)
        except MetricsError as error:
            raise Failure(str(error)) from error
    sink = JsonlSink(sys.stdout)

    def emit(event: Event) -> None:
        if phase in (Phase.both, event.detection.phase):
            sink.write(event)

    source = audio.DeviceSource(chosen, max(2, channel or 0), ring)
    config = ListenConfig(decision, label, channel, stall, duration)
    daemon = Daemon(
        config, options.build_engine(lambda: engines.live(bundle, platform)), source, counted, emit
    )
    where = "off" if host is None else f"http://{host}:{port}/metrics"
    _say(f"opening {chosen.name} at {chosen.rate} Hz; metrics {where}")
    try:
        with quiet_pipe():
            summary = daemon.run()
    finally:
        if server is not None:
            server.shutdown()
            server.server_close()
    _report(summary)
    failure = summary.failure
    code = 0 if failure is None else CODES[failure.reason]
    if source.stuck:
        # PortAudio's own clean-up would wait for the dead device for ever.
        if failure is not None:
            _say(str(failure))
        sys.stdout.flush()
        os._exit(code)
    if failure is not None:
        raise Failure(str(failure), code)


def parse_address(text: str) -> tuple[str | None, int]:
    """(host, port) of HOST:PORT or [IPV6]:PORT; (None, 0) of "off"."""
    if text == "off":
        return None, 0
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise Failure(f"--metrics {text}: not HOST:PORT, nor off")
    return host.strip("[]"), int(port)


def _report(summary: Summary) -> None:
    events = "event" if summary.events == 1 else "events"
    rounds = "round" if summary.rounds == 1 else "rounds"
    _say(
        f"heard {summary.heard_s:.1f} s, lost {summary.dropped_s:.1f} s: "
        f"{summary.events} {events}, {summary.rounds} {rounds}"
    )


def _say(line: str) -> None:
    sys.stderr.write(f"streamdet: {line}\n")
    sys.stderr.flush()
