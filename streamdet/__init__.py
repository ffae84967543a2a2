"""streamdet hears gunshots in live microphones and files, in real time, on one CPU core."""

from importlib import metadata

__version__ = metadata.version("streamdet")
