"""Secrets, out of files alone: they stand in no configuration, no argument and no log."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from streamdet.config.layers import ConfigError

_MAX_BYTES = 65_536
CREDENTIAL = "credential:"


def read_secret(where: str, key: str, environment: Mapping[str, str] | None = None) -> str:
    """The text of a file without the spaces around it; "credential:NAME" is one that systemd
    brought (LoadCredential=). Raises ConfigError, naming the ``key``, never the text."""
    environment = os.environ if environment is None else environment
    path = Path(where)
    if where.startswith(CREDENTIAL):
        folder, name = environment.get("CREDENTIALS_DIRECTORY"), where.removeprefix(CREDENTIAL)
        if not folder:
            raise ConfigError([f"{key}: {where}: systemd brought no credentials"])
        if not name or "/" in name or name in (".", ".."):
            raise ConfigError([f"{key}: {where}: not a credential's name"])
        path = Path(folder) / name
    try:
        with path.open("rb") as file:
            text = file.read(_MAX_BYTES + 1).decode().strip()
    except (OSError, UnicodeDecodeError, ValueError) as error:
        said = getattr(error, "strerror", None) or "not text"
        raise ConfigError([f"{key}: {where}: {said}"]) from None
    if not text or len(text) > _MAX_BYTES or not text.isprintable():
        raise ConfigError([f"{key}: {where}: not one line of text"])
    return text
