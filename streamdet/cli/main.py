"""The command line. Each command parses, builds, calls and prints; heavy imports stay inside it."""

from __future__ import annotations

import os
import sys
import textwrap
from typing import Annotated

import typer

from streamdet.cli import (
    compare,
    config,
    devices,
    events,
    file,
    listen,
    locate,
    model,
    review,
    scan,
    selftest,
    thresholds,
    tune,
)
from streamdet.cli.errors import EXIT_CODE_MEANINGS, INTERRUPTED, CommandError
from streamdet.text import plain_validation

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
app.command("thresholds")(thresholds.thresholds)
app.command("tune")(tune.tune)
app.add_typer(locate.app, name="locate")
app.add_typer(events.app, name="events")
app.add_typer(config.app, name="config")
app.add_typer(model.app, name="model")


def _format_exit_codes() -> str:
    lines = [
        textwrap.fill(meaning, 74, initial_indent=f"  {code:<5}", subsequent_indent=" " * 7)
        for code, meaning in EXIT_CODE_MEANINGS.items()
    ]
    return "\n".join(["Exit codes:", "", "\b", *lines])


def _print_version(requested: bool) -> None:
    if requested:
        from streamdet.version import installed_version

        typer.echo(f"streamdet {installed_version()}")
        raise typer.Exit


@app.callback(epilog=_format_exit_codes())
def main(
    _: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    """Detect gunshots in live audio and in files.

    Results go to stdout. Messages and progress go to stderr; an error is one line.
    `streamdet COMMAND --help` shows the options of a command with examples.
    """
    # before a command imports NumPy: its threads spin, and our matrices are too small to share
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def run() -> None:
    """Run the command line. An error is printed as one line and sets the exit code."""
    try:
        sys.exit(app(standalone_mode=False))
    except CommandError as error:
        sys.stderr.write(f"streamdet: {error}\n")
        sys.exit(error.code)
    except typer.TyperException as error:
        message = error.format_message()
        is_help = "\n" in message  # of a command without arguments
        text = message if is_help else f"streamdet: {plain_validation(message)}"
        sys.stderr.write(text + "\n")
        sys.exit(error.exit_code)
    except typer.Abort:  # Ctrl-C or the end of stdin at a prompt
        sys.exit(INTERRUPTED)
