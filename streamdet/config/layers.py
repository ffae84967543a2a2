"""Defaults, a TOML file, the environment and flags, put over each other into one `Config`.

A layer is a tree of tables. Sources are laid over each other by name, so that
``STREAMDET_SOURCES__GATE__GAIN_DB=6`` and ``--set sources.gate.gain_db=6`` mean one of the file's.
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
from streamdet.text import printable

PREFIX = "STREAMDET_"
DEFAULT_PATH = Path("/etc/streamdet/streamdet.toml")
ENVIRONMENT = "environment"
_MAX_BYTES = 4_000_000
_APART = ("CONFIG",)
"""What begins with the prefix and is no key: where the file is."""

Tree = dict[str, Any]


class ConfigError(ValueError):
    """The configuration is no good; ``faults`` are lines: where, what, what to do."""

    def __init__(self, faults: list[str]) -> None:
        self.faults = [printable(fault) for fault in faults]
        super().__init__("; ".join(self.faults))


@dataclass(frozen=True)
class ConfigLayer:
    """Keys with where they come from: the file's name, "environment" or "flags"."""

    origin: str
    tree: Tree


def merge_layers(layers: Iterable[ConfigLayer]) -> Config:
    """The layers over each other and over the defaults; raises ConfigError with every fault."""
    merged: Tree = {}
    origins: dict[tuple[str, ...], str] = {}
    for layer in layers:
        tree = _by_name(layer)
        _record_origins(origins, (), tree, layer.origin)
        merged = _merge(merged, tree)
    sources = merged.pop("sources", {})
    names = list(sources)
    rows = [{"name": name, **row} for name, row in sources.items()]
    if faults := list(_unprintable(merged, ())) + list(_unprintable(sources, ("sources",))):
        raise ConfigError(faults)
    try:
        return Config.model_validate({**merged, "sources": rows})
    except ValidationError as error:
        raise ConfigError([_describe_error(e, names, origins) for e in error.errors()]) from None


def from_file(path: Path) -> ConfigLayer:
    """The layer of a TOML file; raises ConfigError where it can't be read or is no TOML."""
    try:
        with path.open("rb") as file:
            text = file.read(_MAX_BYTES + 1)
        if len(text) > _MAX_BYTES:
            raise ConfigError([f"{path}: larger than {_MAX_BYTES} bytes"])
        return ConfigLayer(str(path), tomllib.loads(text.decode()))
    except OSError as error:
        raise ConfigError([f"{path}: {error.strerror or error}"]) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError([f"{path}: not TOML: {error}"]) from error


def from_environment(environment: Mapping[str, str]) -> ConfigLayer:
    """The layer of ``STREAMDET_KEY``, ``STREAMDET_TABLE__KEY`` and
    ``STREAMDET_SOURCES__NAME__KEY``; values are TOML's, or text where they are none."""
    tree: Tree = {}
    for variable, text in sorted(environment.items()):
        if variable.startswith(PREFIX) and variable.removeprefix(PREFIX) not in _APART:
            path = variable.removeprefix(PREFIX).lower().split("__")
            _set_key(tree, path, _value(text), variable)
    return ConfigLayer(ENVIRONMENT, tree)


def from_settings(settings: Iterable[str]) -> ConfigLayer:
    """The layer of ``--set`` flags, each ``KEY=VALUE`` with a dotted key."""
    tree: Tree = {}
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals or not key.strip():
            raise ConfigError([f"--set {setting}: not KEY=VALUE"])
        _set_key(tree, _dotted(key), _value(text), f"--set {key}")
    return ConfigLayer("flags", tree)


def config_path(flag: Path | None, environment: Mapping[str, str]) -> Path | None:
    """The file to read: that of the flag, of STREAMDET_CONFIG, else the default one if it is
    there."""
    if flag is not None:
        return flag
    if named := environment.get(f"{PREFIX}CONFIG"):
        return Path(named)
    return DEFAULT_PATH if DEFAULT_PATH.is_file() else None


def config_keys(table: type[BaseModel], path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every key of a table and of those in it; a source's stand under ``sources``."""
    for name, field in table.model_fields.items():
        inner = _table_of(field.annotation)
        if inner is None:
            yield (*path, name)
        else:
            yield from config_keys(inner, (*path, name))


def _table_of(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(_table_of, get_args(annotation))), None)


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (tomllib.TOMLDecodeError, RecursionError):
        return text


def _dotted(key: str) -> list[str]:
    """``sources."a.b".gain_db`` as its parts, by TOML's own rules where they can read it."""
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
            raise ConfigError([f"{origin}: {name} has a value already"])
    if isinstance(tree.get(last), dict):
        raise ConfigError([f"{origin}: {last} is a table already"])
    tree[last] = value


def _by_name(layer: ConfigLayer) -> Tree:
    """The layer with its sources as a table from name to row."""
    if "sources" not in layer.tree:
        return layer.tree
    rows = layer.tree["sources"]
    if isinstance(rows, dict):
        for name, row in rows.items():
            if not isinstance(row, dict):
                raise ConfigError([f"{layer.origin}: sources.{name}: not a table"])
        return layer.tree
    if not isinstance(rows, list):
        raise ConfigError([f"{layer.origin}: sources: a list of tables, [[sources]]"])
    named: Tree = {}
    for place, row in enumerate(rows, 1):
        where = f"{layer.origin}: sources, number {place}"
        if not isinstance(row, dict):
            raise ConfigError([f"{where}: not a table"])
        name = row.get("name")
        if not isinstance(name, str) or not name.strip():
            raise ConfigError([f"{where}: it has no name"])
        if name in named:
            raise ConfigError([f"{where}: there is another one named {name!r}"])
        named[name] = {k: v for k, v in row.items() if k != "name"}
    return {**layer.tree, "sources": named}


def _unprintable(value: Any, path: tuple[str, ...]) -> Iterator[str]:
    """Texts that no device, file or host is called by; a template alone may have lines."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _unprintable(inner, (*path, str(key)))
    elif isinstance(value, list):
        for inner in value:
            yield from _unprintable(inner, path)
    elif isinstance(value, str):
        text = value.replace("\n", "") if path[-1:] == ("template",) else value
        if any(unicodedata.category(c) == "Cc" for c in text):
            yield f"{'.'.join(path)}: a control character in it"


def _without_sources(layer: ConfigLayer) -> ConfigLayer:
    return ConfigLayer(layer.origin, {k: v for k, v in layer.tree.items() if k != "sources"})


def _merge(below: Tree, above: Tree, *, sources: bool = False) -> Tree:
    merged = dict(below)
    for key, value in above.items():
        at = _same_source(merged, key) if sources else key
        old = merged.get(at)
        if isinstance(value, dict) and isinstance(old, dict):
            merged[at] = _merge(old, value, sources=at == "sources" and not sources)
        else:
            merged[at] = value
    return merged


def _same_source(tree: Tree, key: str) -> str:
    """The name that ``key`` means, which in the environment has neither case nor punctuation."""
    return next((name for name in tree if slug(name) == slug(key)), key)


def _record_origins(
    origins: dict[tuple[str, ...], str], path: tuple[str, ...], tree: Any, origin: str
) -> None:
    origins[tuple(slug(p) for p in path)] = origin
    if isinstance(tree, dict):
        for key, value in tree.items():
            _record_origins(origins, (*path, str(key)), value, origin)


def _describe_error(error: Any, names: list[str], origins: Mapping[tuple[str, ...], str]) -> str:
    """One line: where it comes from, the key, what is wrong with it."""
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
        what = "unknown key"
        if near := difflib.get_close_matches(path[-1], table.model_fields, 1):
            what += f"; did you mean {near[0]}?"
    else:
        what = str(error["msg"]).removeprefix("Value error, ").removeprefix("Input ")
    key = ".".join(path)
    if origin == ENVIRONMENT:
        key = PREFIX + "__".join(slug(p).upper() for p in path)
    return ": ".join(part for part in (origin, key, what) if part)


def _table_at(path: list[str]) -> type[BaseModel]:
    table: type[BaseModel] = Config
    for name in path:
        field = table.model_fields.get(name)
        table = (_table_of(field.annotation) if field else None) or table
    return table


def read_config(
    flag: Path | None,
    *above: ConfigLayer,
    environment: Mapping[str, str] | None = None,
    only_flags: bool = False,
) -> Config:
    """The `Config` of the file, the environment and the layers above them, ``only_flags`` without
    the sources of file and environment; raises ConfigError."""
    there = os.environ if environment is None else environment
    path = config_path(flag, there)
    below = [] if path is None else [from_file(path)]
    below.append(from_environment(there))
    if only_flags:
        below = [_without_sources(layer) for layer in below]
    return merge_layers([*below, *above])
