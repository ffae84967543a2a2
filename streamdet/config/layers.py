"""Merges defaults, a TOML file, the environment and flags into one `Config`.

A layer is a tree of tables. Sources are merged by name, so that
``STREAMDET_SOURCES__GATE__GAIN_DB=6`` and ``--set sources.gate.gain_db=6`` change a source of the
file.
"""

from __future__ import annotations

import difflib
import os
import tomllib
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from streamdet.config.schema import Config, SourceConfig, slug
from streamdet.text import plain_validation, printable

PREFIX = "STREAMDET_"
DEFAULT_PATH = Path("/etc/streamdet/streamdet.toml")
ENVIRONMENT = "environment"
_MAX_BYTES = 4_000_000
_NOT_KEYS = ("CONFIG",)
"""Variables with the prefix that are not keys: STREAMDET_CONFIG is the path of the file."""

_ALTERNATIVES = ("threshold", "operating_point", "false_alarms")
"""Keys of which a table may have one. One in a later layer replaces the others."""

Tree = dict[str, Any]


class ConfigError(ValueError):
    """The configuration is invalid. ``faults`` are lines that say where, what and what to do."""

    def __init__(self, faults: list[str]) -> None:
        self.faults = [printable(fault) for fault in faults]
        super().__init__("; ".join(self.faults))


@dataclass(frozen=True)
class ConfigLayer:
    """Keys and their origin: the path of a file, "environment", "options" or "--set"."""

    origin: str
    tree: Tree


def merge_layers(layers: Iterable[ConfigLayer]) -> Config:
    """Merge layers, the later over the earlier. Raises ConfigError with every fault."""
    merged: Tree = {}
    origins: dict[tuple[str, ...], str] = {}
    for layer in layers:
        tree = _key_sources_by_name(layer)
        _record_origins(origins, (), tree, layer.origin)
        merged = _merge(merged, tree)
    sources = merged.pop("sources", {})
    names = list(sources)
    rows = [{"name": name, **row} for name, row in sources.items()]
    if faults := [*_control_characters(merged, ()), *_control_characters(sources, ("sources",))]:
        raise ConfigError(faults)
    try:
        return Config.model_validate({**merged, "sources": rows})
    except ValidationError as error:
        raise ConfigError([_describe_error(e, names, origins) for e in error.errors()]) from None


def from_file(path: Path) -> ConfigLayer:
    """Read a TOML file. Raises ConfigError if it cannot be read or is not TOML."""
    try:
        with path.open("rb") as file:
            text = file.read(_MAX_BYTES + 1)
        if len(text) > _MAX_BYTES:
            raise ConfigError([f"{path}: larger than {_MAX_BYTES} bytes; is it a configuration?"])
        return ConfigLayer(str(path), tomllib.loads(text.decode()))
    except OSError as error:
        raise ConfigError([f"{path}: {error.strerror or error}"]) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(
            [f"{path}: invalid TOML: {error}; `streamdet config example` prints a valid file"]
        ) from error


def from_environment(environment: Mapping[str, str]) -> ConfigLayer:
    """Read ``STREAMDET_KEY``, ``STREAMDET_TABLE__KEY`` and ``STREAMDET_SOURCES__NAME__KEY``.

    A value is parsed as TOML; if that fails it is text. Raises ConfigError.
    """
    tree: Tree = {}
    for variable, text in sorted(environment.items()):
        if variable.startswith(PREFIX) and variable.removeprefix(PREFIX) not in _NOT_KEYS:
            path = variable.removeprefix(PREFIX).lower().split("__")
            _set_key(tree, path, _parse_value(text), variable)
    return ConfigLayer(ENVIRONMENT, tree)


def from_settings(settings: Iterable[str]) -> ConfigLayer:
    """Read ``--set`` flags, each ``KEY=VALUE`` with a dotted key. Raises ConfigError."""
    tree: Tree = {}
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals or not key.strip():
            raise ConfigError([f"--set {setting}: expected KEY=VALUE, such as --set stall_s=3"])
        _set_key(tree, _split_key(key), _parse_value(text), f"--set {key}")
    return ConfigLayer("--set", tree)


def config_path(flag: Path | None, environment: Mapping[str, str]) -> Path | None:
    """Return the file to read: the flag's, else STREAMDET_CONFIG, else the default if it exists."""
    if flag is not None:
        return flag
    if named := environment.get(f"{PREFIX}CONFIG"):
        return Path(named)
    return DEFAULT_PATH if DEFAULT_PATH.is_file() else None


def config_keys(table: type[BaseModel], path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield every key of a table and of its inner tables. Keys of a source start with "sources"."""
    for name, field in table.model_fields.items():
        inner = table_type(field.annotation)
        if inner is None:
            yield (*path, name)
        else:
            yield from config_keys(inner, (*path, name))


def table_type(annotation: Any) -> type[BaseModel] | None:
    """Return the table class in a type annotation, or None if the annotation has none."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(table_type, get_args(annotation))), None)


def _parse_value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (tomllib.TOMLDecodeError, RecursionError):
        return text


def _split_key(key: str) -> list[str]:
    """Split ``sources."a.b".gain_db`` by the rules of TOML, or at every dot if that fails."""
    try:
        tree, path = tomllib.loads(f"{key} = 0"), []
    except (tomllib.TOMLDecodeError, RecursionError):
        return [part.strip() for part in key.split(".")]
    while isinstance(tree, dict):
        ((part, tree),) = tree.items()
        path.append(part)
    return path


def _set_key(tree: Tree, path: list[str], value: Any, origin: str) -> None:
    *tables, last = path
    for name in tables:
        tree = tree.setdefault(name, {})
        if not isinstance(tree, dict):
            raise ConfigError([f"{origin}: {name} is also set to a value; remove one of the two"])
    if isinstance(tree.get(last), dict):
        raise ConfigError([f"{origin}: keys of {last} are also set; remove one of the two"])
    tree[last] = value


def _key_sources_by_name(layer: ConfigLayer) -> Tree:
    """Return the layer's tree with its sources as a table from name to row."""
    if "sources" not in layer.tree:
        return layer.tree
    rows = layer.tree["sources"]
    if isinstance(rows, dict):
        for name, row in rows.items():
            if not isinstance(row, dict):
                raise ConfigError([f"{layer.origin}: sources.{name}: must be a table, not a value"])
        return layer.tree
    if not isinstance(rows, list):
        raise ConfigError([f"{layer.origin}: sources: must be a list of tables, [[sources]]"])
    named: Tree = {}
    for number, row in enumerate(rows, 1):
        where = f"{layer.origin}: sources, number {number}"
        if not isinstance(row, dict):
            raise ConfigError([f"{where}: must be a table, [[sources]]"])
        name = row.get("name")
        if not isinstance(name, str) or not name.strip():
            raise ConfigError([f'{where}: has no name; add name = "..."'])
        if name in named:
            raise ConfigError([f"{where}: the name {name!r} is used twice; change one of them"])
        named[name] = {k: v for k, v in row.items() if k != "name"}
    return {**layer.tree, "sources": named}


def _control_characters(value: Any, path: tuple[str, ...]) -> Iterator[str]:
    """Yield a line for each text with a control character. Only a template may have line breaks."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _control_characters(inner, (*path, str(key)))
    elif isinstance(value, list):
        for inner in value:
            yield from _control_characters(inner, path)
    elif isinstance(value, str):
        text = value.replace("\n", "") if path[-1:] == ("template",) else value
        if any(unicodedata.category(c) == "Cc" for c in text):
            yield f"{'.'.join(path)}: contains a control character; remove it"


def _without_sources(layer: ConfigLayer) -> ConfigLayer:
    return ConfigLayer(layer.origin, {k: v for k, v in layer.tree.items() if k != "sources"})


def _merge(lower: Tree, upper: Tree, *, sources: bool = False) -> Tree:
    merged = dict(lower)
    if any(key in upper for key in _ALTERNATIVES):
        merged = {key: value for key, value in merged.items() if key not in _ALTERNATIVES}
    for key, value in upper.items():
        target = _find_source(merged, key) if sources else key
        old = merged.get(target)
        if isinstance(value, dict) and isinstance(old, dict):
            merged[target] = _merge(old, value, sources=target == "sources" and not sources)
        else:
            merged[target] = value
    return merged


def _find_source(tree: Tree, key: str) -> str:
    """Return the source name that ``key`` means: a variable has neither case nor punctuation."""
    return next((name for name in tree if slug(name) == slug(key)), key)


def _record_origins(
    origins: dict[tuple[str, ...], str], path: tuple[str, ...], tree: Any, origin: str
) -> None:
    origins[tuple(slug(p) for p in path)] = origin
    if isinstance(tree, dict):
        for key, value in tree.items():
            _record_origins(origins, (*path, str(key)), value, origin)


def _describe_error(error: Any, names: list[str], origins: Mapping[tuple[str, ...], str]) -> str:
    """Return one line: the origin, the key, and what is wrong with it."""
    path = [str(part) for part in error["loc"]]
    if path[:1] == ["sources"] and len(path) > 1 and path[1].isdigit():
        path[1] = names[int(path[1])]
    known = tuple(slug(p) for p in path)
    while known and known not in origins:
        known = known[:-1]
    origin = origins.get(known, "")
    if known[:-1] in origins and not origin:
        origin = origins[known[:-1]]
    if error["type"] == "extra_forbidden":
        table = SourceConfig if path[:1] == ["sources"] else _table_at(path[:-1])
        message = "unknown key"
        if near := difflib.get_close_matches(path[-1], table.model_fields, 1):
            message += f"; did you mean {near[0]}?"
    else:
        message = plain_validation(str(error["msg"]))
    key = ".".join(path)
    if origin == ENVIRONMENT:
        key = PREFIX + "__".join(slug(p).upper() for p in path)
    return ": ".join(part for part in (origin, key, message) if part)


def _table_at(path: list[str]) -> type[BaseModel]:
    table: type[BaseModel] = Config
    for name in path:
        field = table.model_fields.get(name)
        table = (table_type(field.annotation) if field else None) or table
    return table


def read_config(
    flag: Path | None,
    *upper: ConfigLayer,
    environment: Mapping[str, str] | None = None,
    only_flags: bool = False,
) -> Config:
    """Read the file and the environment, and merge them with the ``upper`` layers.

    With ``only_flags``, the sources of the file and the environment are left out. Raises
    ConfigError.
    """
    environment = os.environ if environment is None else environment
    path = config_path(flag, environment)
    lower = [] if path is None else [from_file(path)]
    lower.append(from_environment(environment))
    if only_flags:
        lower = [_without_sources(layer) for layer in lower]
    return merge_layers([*lower, *upper])
