"""The command line: parse, build, call, print. Heavy imports stay inside the commands."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from streamdet.cli import (
    compare,
    config,
    devices,
    events,
    file,
    listen,
    model,
    review,
    scan,
    selftest,
)
from streamdet.cli.errors import CommandError

app = typer.Typer(
    name="streamdet",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("file")(file.file)
app.command("scan")(scan.scan)
app.command("compare")(compare.compare)
app.command("listen")(listen.listen)
app.command("review")(review.review)
app.command("devices")(devices.devices)
app.command("selftest")(selftest.selftest)
app.add_typer(model.app, name="model")
app.add_typer(config.app, name="config")
app.add_typer(events.app, name="events")


def _version(wanted: bool) -> None:
    if wanted:
        from streamdet.version import installed_version

        typer.echo(f"streamdet {installed_version()}")
        raise typer.Exit


@app.callback()
def main(
    _: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Say which.")
    ] = False,
) -> None:
    """Hear gunshots in live microphones and files.

    Results go to stdout, everything else to stderr. Exit codes: 0 done, 2 bad input or
    options, 69 no device or no PortAudio, 74 the device stopped, 75 the device is busy,
    130 interrupted.
    """


def run() -> None:
    """The console script: one clear line for a failure."""
    try:
        app()
    except CommandError as failure:
        sys.stderr.write(f"streamdet: {failure}\n")
        sys.exit(failure.code)
