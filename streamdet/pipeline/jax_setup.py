"""Process-wide JAX settings, for programs that own their process.

The command line and the worker processes of a scan apply them. The library does not: it leaves the
environment and JAX's configuration to its caller.
"""

from __future__ import annotations

import os
from pathlib import Path

from streamdet.pipeline.platform import Platform


def configure_jax(platform: Platform, *, single_threaded: bool = False) -> None:
    """Limit JAX to one platform and cache its compiled functions on disk.

    Call it before the first use of JAX. ``single_threaded`` gives XLA's CPU client one thread, for
    processes that keep the cores busy with their own threads or with other processes.
    """
    if single_threaded:
        os.environ.setdefault("NPROC", "1")  # the size of XLA's thread pool
    import jax

    jax.config.update("jax_platforms", platform.value)
    # Run a step in the thread that calls it; the caller waits for the result anyway.
    jax.config.update("jax_cpu_enable_async_dispatch", False)
    if (cache := _compilation_cache()) is not None:
        jax.config.update("jax_compilation_cache_dir", str(cache))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)


def _compilation_cache() -> Path | None:
    """The folder for compiled functions; None if it can't be written."""
    try:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        folder = base / "streamdet" / "jax"
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):
        return None
    return folder if os.access(folder, os.W_OK) else None
