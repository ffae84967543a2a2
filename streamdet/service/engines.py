"""Which engine hears: numpy's, which starts at once in little memory, or JAX's, for much sound."""

from __future__ import annotations

import os
from pathlib import Path

from streamdet.detect.engine import Engine, block_frames
from streamdet.model.bundle import Bundle
from streamdet.model.tagger_bundle import ServedTagger
from streamdet.service.platform import Platform, PlatformError

LIVE_BLOCK_S = 0.08
"""The sound of one live step."""
FILE_BLOCK_S = 5.12
"""The sound of one step over a file: large enough that the step's own cost is small."""
WORTH_COMPILING_S = 600.0
"""From so much sound on, JAX's start is made up for by its speed."""


def live(bundle: Bundle, platform: Platform = Platform.auto) -> Engine:
    """An engine of one live stream."""
    return _build(bundle, platform, LIVE_BLOCK_S, 0.0)


def for_files(
    bundle: Bundle, platform: Platform = Platform.auto, seconds: float | None = None
) -> Engine:
    """An engine for so many seconds of files one after another, None where nobody knows.

    Raises PlatformError, as `live` does, where JAX has no such platform here, or for a tagger
    without JAX.
    """
    return _build(bundle, platform, FILE_BLOCK_S, seconds or 0.0)


def _build(bundle: Bundle, platform: Platform, block_s: float, seconds: float) -> Engine:
    size = block_frames(bundle, block_s)
    tagger = isinstance(bundle.model, ServedTagger)
    if platform is Platform.auto:
        compiled = tagger or seconds >= WORTH_COMPILING_S
        platform = Platform.cpu if compiled else Platform.numpy
    if platform is Platform.numpy:
        if tagger:
            raise PlatformError(f"--platform numpy: {bundle.name} is a tagger, which needs JAX")
        from streamdet.detect.plain import PlainEngine

        return PlainEngine(bundle, block_frames=size)
    _set_up_jax(platform)
    from streamdet.detect.compiled import CompiledEngine

    pipelined = platform is Platform.cpu and block_s == FILE_BLOCK_S and _cores() > 1
    return CompiledEngine(bundle, block_frames=size, pipelined=pipelined)


def _set_up_jax(platform: Platform) -> None:
    """JAX on this platform, its compiled steps kept for the next start."""
    import jax

    jax.config.update("jax_platforms", platform.value)
    # A step runs in the thread that asked for it: another one would only make it wait.
    jax.config.update("jax_cpu_enable_async_dispatch", False)
    if (cache := _compilation_cache()) is not None:
        jax.config.update("jax_compilation_cache_dir", str(cache))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    try:
        jax.devices()
    except RuntimeError as error:
        raise PlatformError(
            f"--platform {platform}: JAX finds none here; its page on installing has the extra "
            "for yours"
        ) from error


def _compilation_cache() -> Path | None:
    """Where compiled steps are kept; None where no folder can be written."""
    try:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        folder = base / "streamdet" / "jax"
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):
        return None
    return folder if os.access(folder, os.W_OK) else None


def _cores() -> int:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
