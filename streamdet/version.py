"""The installed version of streamdet."""

from __future__ import annotations

from functools import cache


@cache
def installed_version() -> str:
    """Return the version in the package metadata, such as ``0.1.0``.

    `importlib.metadata` is imported on the first call, because importing it takes longer than
    printing ``--help``.
    """
    from importlib import metadata

    return metadata.version("streamdet")
