"""`streamdet devices`: what can be listened to."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer

from streamdet.cli.errors import EXIT_CODES, CommandError


def devices(
    as_json: Annotated[bool, typer.Option("--json", help="A JSON array, for programs.")] = False,
) -> None:
    """List the inputs that `listen --device` can be given; the default one is marked.

    Example: streamdet devices --json
    """
    from streamdet.audio import device
    from streamdet.audio.source import SourceError

    try:
        found = device.list_devices()
    except SourceError as error:
        raise CommandError(str(error), EXIT_CODES[error.reason]) from error
    if as_json:
        rows = [{k: v for k, v in asdict(d).items() if k != "index"} for d in found]
        typer.echo(json.dumps(rows, indent=2))
        return
    if not found:
        raise CommandError(
            "no input device; is a microphone plugged in?", EXIT_CODES["unavailable"]
        )
    width = max(len(d.name) for d in found)
    for d in found:
        mark = "*" if d.default else " "
        channels = "channel" if d.channels == 1 else "channels"
        typer.echo(f"{mark} {d.name:<{width}}  {d.rate} Hz, {d.channels} {channels}, {d.host_api}")
