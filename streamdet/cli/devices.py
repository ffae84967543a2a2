"""`streamdet devices`: the audio inputs of this machine."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer

from streamdet.cli.errors import EXIT_CODE_BY_REASON, CommandError


def devices(
    as_json: Annotated[
        bool,
        typer.Option(
            "--json",
            help="Print a JSON array with name, host_api, channels, rate (Hz) and default.",
        ),
    ] = False,
) -> None:
    """List the audio inputs for `listen --device`. The default input is marked with *.

    Needs the PortAudio library. On Debian and Ubuntu: apt-get install libportaudio2.

    Examples:

    \b
      streamdet devices
      streamdet devices --json
    """
    from streamdet.audio import device
    from streamdet.audio.source import SourceError

    try:
        found = device.list_devices()
    except SourceError as error:
        raise CommandError(str(error), EXIT_CODE_BY_REASON[error.reason]) from error
    if as_json:
        rows = [{k: v for k, v in asdict(d).items() if k != "index"} for d in found]
        typer.echo(json.dumps(rows, indent=2))
        return
    if not found:
        raise CommandError(
            "no audio input found. Plug in a microphone", EXIT_CODE_BY_REASON["unavailable"]
        )
    width = max(len(d.name) for d in found)
    for d in found:
        mark = "*" if d.default else " "
        channels = "channel" if d.channels == 1 else "channels"
        typer.echo(f"{mark} {d.name:<{width}}  {d.rate} Hz, {d.channels} {channels}, {d.host_api}")
