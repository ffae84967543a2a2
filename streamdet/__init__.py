"""streamdet detects gunshots in live audio and in files, in real time, on one CPU core."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from streamdet.api import BundleError, Detector, Event, SourceError, detect, to_pandas

__version__: str
__all__ = ["BundleError", "Detector", "Event", "SourceError", "detect", "to_pandas"]


def __getattr__(name: str) -> Any:
    """Import ``__version__`` and the names in ``__all__`` on first use.

    Importing either of them takes longer than printing ``--help``.
    """
    if name == "__version__":
        from streamdet.version import installed_version

        return installed_version()
    if name in __all__:
        from streamdet import api

        return getattr(api, name)
    raise AttributeError(f"module 'streamdet' has no attribute {name!r}")


def __dir__() -> list[str]:
    """All names, also those that are not imported yet."""
    return sorted({*globals(), *__all__, "__version__"})
