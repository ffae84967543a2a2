"""streamdet hears gunshots in live microphones and files, in real time, on one CPU core."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from streamdet.api import BundleError, Detector, Event, SourceError, detect, to_pandas

__version__: str
__all__ = ["BundleError", "Detector", "Event", "SourceError", "detect", "to_pandas"]


def __getattr__(name: str) -> Any:
    """``__version__`` and what is in __all__, looked up when asked for: either costs more than the
    whole of --help."""
    if name == "__version__":
        from streamdet.version import installed_version

        return installed_version()
    if name in __all__:
        from streamdet import api

        return getattr(api, name)
    raise AttributeError(f"module 'streamdet' has no attribute {name!r}")
