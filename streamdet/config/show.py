"""Prints a `Config` as TOML."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from pydantic import BaseModel

from streamdet.config.schema import Config


def to_toml(config: Config) -> str:
    """Return every key that has a value as TOML. URLs have no user and password."""
    lines = list(_format_table(config))
    for name, table in config:
        if isinstance(table, BaseModel):
            lines += ["", f"[{name}]", *_format_table(table)]
    for source in config.sources:
        lines += ["", "[[sources]]", *_format_table(source)]
    return "\n".join(lines) + "\n"


def _format_table(table: BaseModel) -> Iterator[str]:
    for name, value in table:
        if value is None or isinstance(value, BaseModel) or name == "sources":
            continue
        yield f"{name} = {_format_value(strip_credentials(value) if name == 'url' else value)}"


def _format_value(value: Any) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(map(_format_value, value))}]"
    if isinstance(value, Path):
        value = str(value)
    return json.dumps(value, ensure_ascii=False)


def strip_credentials(url: str) -> str:
    """Replace user and password in a URL by ``...``."""
    parts = urlsplit(url)
    if "@" not in parts.netloc:
        return url
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"...@{host}"))
