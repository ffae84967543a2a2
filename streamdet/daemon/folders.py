"""The folders in which a daemon keeps its state."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from streamdet.config.schema import Config


def spool_folder(config: Config, environment: Mapping[str, str] | None = None) -> Path:
    """The configured spool folder, else one in the state folder."""
    return config.spool.folder or _state_folder(environment) / "spool"


def background_folder(config: Config, environment: Mapping[str, str] | None = None) -> Path:
    """The configured folder of backgrounds, else one in the state folder."""
    return config.background.folder or _state_folder(environment) / "backgrounds"


def _state_folder(environment: Mapping[str, str] | None) -> Path:
    """The folder of systemd, else the one in the user's state directory."""
    environment = os.environ if environment is None else environment
    if state := environment.get("STATE_DIRECTORY"):
        return Path(state.split(":")[0])
    home = environment.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(home) / "streamdet"
