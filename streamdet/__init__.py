"""streamdet hears gunshots in live microphones and files, in real time, on one CPU core."""

__version__: str


def __getattr__(name: str) -> str:
    """``__version__``, looked up when asked for: it costs more than the whole of --help."""
    if name == "__version__":
        from importlib import metadata

        return metadata.version("streamdet")
    raise AttributeError(f"module 'streamdet' has no attribute {name!r}")
