"""The installed version of streamdet."""

from __future__ import annotations

from functools import cache


@cache
def installed_version() -> str:
    """The version in the package metadata, such as ``0.1.0``.

    Looked up when asked for, because `importlib.metadata` takes longer to import than ``--help``
    takes to print.
    """
    from importlib import metadata

    return metadata.version("streamdet")
