"""A `Config` as TOML."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from pydantic import BaseModel

from streamdet.config.schema import Config


def to_toml(config: Config) -> str:
    """Every key that has a value; addresses without user and password."""
    lines = list(_table(config))
    for name, table in config:
        if isinstance(table, BaseModel):
            lines += ["", f"[{name}]", *_table(table)]
    for source in config.sources:
        lines += ["", "[[sources]]", *_table(source)]
    return "\n".join(lines) + "\n"


def _table(table: BaseModel) -> Iterator[str]:
    for name, value in table:
        if value is None or isinstance(value, BaseModel) or name == "sources":
            continue
        yield f"{name} = {_value(strip_credentials(value) if name == 'url' else value)}"


def _value(value: Any) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, Path):
        value = str(value)
    return json.dumps(value, ensure_ascii=False)


def strip_credentials(url: str) -> str:
    """An address whose user and password are not shown."""
    parts = urlsplit(url)
    if "@" not in parts.netloc:
        return url
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"...@{host}"))
