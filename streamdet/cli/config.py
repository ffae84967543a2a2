"""`streamdet config`: what a daemon is told, looked at before it is told it."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING

import typer

from streamdet.cli import options
from streamdet.cli.errors import CommandError

if TYPE_CHECKING:
    from streamdet.config.schema import Config

app = typer.Typer(no_args_is_help=True, help="Look at what `listen` is told.")


@app.command()
def check(config: options.ConfigFile = None, settings: options.Settings = None) -> None:
    """Look for mistakes: unknown keys, values, the bundle, operating points, secrets.

    Each is a line on stderr, and then the exit code is 2.

    Example: streamdet config check --config streamdet.toml
    """
    from streamdet.config.layers import ConfigError
    from streamdet.daemon import builders

    told = _read(config, settings)
    faults: list[str] = []
    try:
        bundle = builders.load_configured_bundle(told)
        for source in told.sources:
            builders.build_decision(told, bundle, source)
    except ConfigError as error:
        faults += error.faults
    faults += builders.check_secrets(told)
    if faults:
        raise CommandError("\nstreamdet: ".join(faults))
    sources = ", ".join(source.name for source in told.sources) or "none"
    outputs = [
        name for name in builders.OUTPUT_NAMES if builders.output_key(told, name) is not None
    ]
    typer.echo(f"good; sources: {sources}; outputs: {', '.join(outputs)}")


@app.command()
def show(config: options.ConfigFile = None, settings: options.Settings = None) -> None:
    """Print what is in force, defaults and all, as TOML; passwords in addresses are left out.

    Example: streamdet config show
    """
    from streamdet.config.show import to_toml

    typer.echo(to_toml(_read(config, settings)), nl=False)


@app.command()
def example() -> None:
    """Print a configuration with every key, its default and what it is for.

    Example: streamdet config example > streamdet.toml
    """
    text = files("streamdet.config").joinpath("example.toml").read_text(encoding="utf-8")
    typer.echo(text, nl=False)


def _read(config: options.ConfigFile, settings: options.Settings) -> Config:
    from streamdet.config import layers

    try:
        return layers.read_config(config, layers.from_settings(settings or []))
    except layers.ConfigError as error:
        raise CommandError("\nstreamdet: ".join(error.faults)) from error
