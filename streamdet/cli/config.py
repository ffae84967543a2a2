"""`streamdet config`: check and print the configuration of `streamdet listen`."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING

import typer

from streamdet.cli import options
from streamdet.cli.errors import CommandError

if TYPE_CHECKING:
    from streamdet.config.schema import Config

app = typer.Typer(no_args_is_help=True, help="Check and print the configuration of `listen`.")


@app.command()
def check(config: options.ConfigOption = None, settings: options.SetOption = None) -> None:
    """Check a configuration: keys, values, model bundle, operating points and secret files.

    Every mistake is one line on stderr. The exit code is then 2.

    Examples:

    \b
      streamdet config check
      streamdet config check --config streamdet.toml --set stall_s=3
    """
    from streamdet.config.layers import ConfigError
    from streamdet.daemon import builders

    configuration = _read_config(config, settings)
    faults: list[str] = []
    try:
        bundle = builders.load_configured_bundle(configuration)
        for source in configuration.sources:
            builders.build_decision(configuration, bundle, source)
    except ConfigError as error:
        faults += error.faults
    faults += builders.check_secrets(configuration)
    if faults:
        raise _config_error(faults)
    sources = ", ".join(source.name for source in configuration.sources) or "none"
    outputs = [
        name
        for name in builders.OUTPUT_NAMES
        if builders.output_key(configuration, name) is not None
    ]
    typer.echo(f"valid; sources: {sources}; outputs: {', '.join(outputs)}")


@app.command()
def show(config: options.ConfigOption = None, settings: options.SetOption = None) -> None:
    """Print the effective configuration as TOML, with all defaults and environment variables.

    Users and passwords in URLs are left out.

    Examples:

    \b
      streamdet config show
      streamdet config show --config streamdet.toml
    """
    from streamdet.config.show import to_toml

    typer.echo(to_toml(_read_config(config, settings)), nl=False)


@app.command()
def example() -> None:
    """Print an example configuration with every key, its default and its meaning.

    Examples:

    \b
      streamdet config example > /etc/streamdet/streamdet.toml
    """
    text = files("streamdet.config").joinpath("example.toml").read_text(encoding="utf-8")
    typer.echo(text, nl=False)


def _read_config(config: options.ConfigOption, settings: options.SetOption) -> Config:
    from streamdet.config import layers

    try:
        return layers.read_config(config, layers.from_settings(settings or []))
    except layers.ConfigError as error:
        raise _config_error(error.faults) from error


def _config_error(faults: list[str]) -> CommandError:
    """An error of several lines, each with the prefix that `main.run` gives the first."""
    return CommandError("\nstreamdet: ".join(faults))
