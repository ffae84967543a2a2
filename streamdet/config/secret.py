"""Secrets, read from files only: they never appear in a configuration, an argument or a log."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from streamdet.config.layers import ConfigError

_MAX_BYTES = 65_536
CREDENTIAL = "credential:"


def read_secret(where: str, key: str, environment: Mapping[str, str] | None = None) -> str:
    """Return the text of a secret's file, without surrounding spaces.

    ``where`` is a path, or "credential:NAME" for a credential of systemd (LoadCredential=).
    Raises ConfigError, which names the ``key`` and never the text.
    """
    environment = os.environ if environment is None else environment
    path = Path(where)
    if where.startswith(CREDENTIAL):
        folder, name = environment.get("CREDENTIALS_DIRECTORY"), where.removeprefix(CREDENTIAL)
        if not name or "/" in name or name in (".", ".."):
            raise ConfigError([f"{key}: {where}: invalid name of a credential"])
        if not folder:
            raise ConfigError(
                [f"{key}: {where}: systemd passes no credentials; add LoadCredential={name}:PATH"]
            )
        path = Path(folder) / name
    try:
        with path.open("rb") as file:
            text = file.read(_MAX_BYTES + 1).decode().strip()
    except (OSError, UnicodeDecodeError, ValueError) as error:
        cause = getattr(error, "strerror", None) or "not text"
        raise ConfigError([f"{key}: {where}: {cause}"]) from None
    if not text or len(text) > _MAX_BYTES or not text.isprintable():
        raise ConfigError([f"{key}: {where}: must contain exactly one line of text"])
    return text
