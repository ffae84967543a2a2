"""The options of `listen` as configuration."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from streamdet.cli.errors import CommandError

if TYPE_CHECKING:
    from streamdet.config.layers import ConfigLayer

_MAX_NAME = 64
_ALTERNATIVES = ("--threshold", "--operating-point", "--false-alarms")
_CONFIG_KEYS = {
    "--threshold": "threshold", "--operating-point": "operating_point",
    "--false-alarms": "false_alarms",
    "--verify": "verify", "--tell": "stdout.tell", "--metrics": "http.address",
    "--phase": "stdout.phase", "--model": "model",
    "--platform": "platform", "--ring": "ring_s", "--stall": "stall_s", "--log": "log.format",
    "--store": "store.path", "--clips": "clips.folder", "--redact-speech": "store.redact_speech",
    "--web": "web.address",
}  # fmt: skip


def option_source(locations: dict[str, Any], source_options: dict[str, Any]) -> dict[str, Any]:
    """The source that the options name, as a table of ``[[sources]]``. Empty if there is none."""
    if not locations:
        return {}
    ((kind, location),) = locations.items()
    value = str(location)
    name = source_options.get("name") or _default_name(kind, value)
    return source_options | {"name": name, kind: value}


def _default_name(kind: str, value: str) -> str:
    if kind == "url":
        from streamdet.audio.network import redact_url

        return redact_url(value)[:_MAX_NAME]
    if value == "-":
        return "stdin"
    return (Path(value).name if kind == "file" else value)[:_MAX_NAME] or kind


def without_none(**values: Any) -> dict[str, Any]:
    """The arguments that are not None."""
    return {key: value for key, value in values.items() if value is not None}


def option_layers(values: dict[str, Any]) -> list[ConfigLayer]:
    """One layer for each option that was given, so that an error names the option."""
    from streamdet.config.layers import ConfigLayer

    given = [option for option in _ALTERNATIVES if values.get(option) is not None]
    if len(given) > 1:
        raise CommandError(f"{' and '.join(given)}: give one of them")
    layers = []
    for option, value in values.items():
        if value is not None:
            table: Any = str(value) if isinstance(value, (StrEnum, Path)) else value
            for part in reversed(_CONFIG_KEYS[option].split(".")):
                table = {part: table}
            layers.append(ConfigLayer(option, table))
    return layers
