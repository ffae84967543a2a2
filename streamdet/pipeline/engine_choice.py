"""Which engine hears: numpy's, which starts at once in little memory, or JAX's, for much sound."""

from __future__ import annotations

import os
from pathlib import Path

from streamdet.detection.engine import Engine, frames_per_block
from streamdet.model.bundle import Bundle
from streamdet.model.tagger_bundle import ServedTagger
from streamdet.pipeline.platform import Platform, PlatformError

LIVE_BLOCK_S = 0.04
"""The sound of one live step: what waits for its end hears a shot so much later."""
FILE_BLOCK_S = 5.12
"""The sound of one step over a file: large enough that the step's own cost is small."""
MIN_COMPILED_S = 1_200.0
"""From so much sound on, JAX's start is made up for by its speed."""

_MIN_SLOTS = 8


def live_engine(bundle: Bundle, platform: Platform = Platform.auto) -> Engine:
    """An engine of one live stream."""
    platform = _choose_platform(bundle, platform, much=False)
    if platform is Platform.numpy:
        return _numpy_engine(bundle)
    return _jax_engine(bundle, platform, LIVE_BLOCK_S)


def live_batch_engine(bundle: Bundle, platform: Platform, sources: int) -> Engine:
    """An engine of so many live streams at least, side by side: numpy's has no more than it needs,
    JAX's as many as one compiled step will do for when others join."""
    platform = _choose_platform(bundle, platform, much=False)
    if platform is Platform.numpy:
        from streamdet.detection.numpy_engine import NumpyEngine

        return NumpyEngine(bundle, streams=max(1, sources), block_frames=1)
    seats = max(_MIN_SLOTS, 1 << (max(1, sources) - 1).bit_length())
    return _jax_engine(bundle, platform, LIVE_BLOCK_S, streams=seats)


def file_engine(
    bundle: Bundle,
    platform: Platform = Platform.auto,
    seconds: float | None = None,
    batch: int = 1,
    lanes: int = 1,
) -> Engine:
    """An engine for so many seconds of files, None where nobody knows; one after another, or
    ``batch`` of them side by side, each in so many ``lanes`` at most.

    Raises PlatformError, as `live` does, where JAX has no such platform here, or for what only
    detectors or only JAX can do.
    """
    much = batch > 1 or (seconds or 0.0) >= MIN_COMPILED_S
    platform = _choose_platform(bundle, platform, much=much)
    if batch > 1:
        return _lockstep_engine(bundle, platform, batch * lanes)
    if platform is Platform.numpy:
        return _numpy_engine(bundle)
    pipelined = platform is Platform.cpu and available_cores() > 1
    return _jax_engine(bundle, platform, FILE_BLOCK_S, pipelined=pipelined)


def scan_engine(bundle: Bundle, platform: Platform = Platform.cpu) -> Engine:
    """An engine of one file after another in one of many processes: on the CPU a single thread.
    Raises PlatformError, as `live` does."""
    platform = _choose_platform(bundle, platform, much=True)
    if platform is Platform.numpy:
        return _numpy_engine(bundle)
    if platform is Platform.cpu:
        os.environ.setdefault("NPROC", "1")
    return _jax_engine(bundle, platform, FILE_BLOCK_S)


def _choose_platform(bundle: Bundle, platform: Platform, *, much: bool) -> Platform:
    tagger = isinstance(bundle.model, ServedTagger)
    if platform is Platform.numpy and tagger:
        raise PlatformError(f"--platform numpy: {bundle.name} is a tagger, which needs JAX")
    if platform is not Platform.auto:
        return platform
    return Platform.cpu if tagger or much else Platform.numpy


def _numpy_engine(bundle: Bundle) -> Engine:
    from streamdet.detection.numpy_engine import NumpyEngine

    return NumpyEngine(bundle, block_frames=1)


def _jax_engine(
    bundle: Bundle,
    platform: Platform,
    block_s: float,
    *,
    streams: int = 1,
    pipelined: bool = False,
) -> Engine:
    if pipelined:
        # XLA's own pool would share each stage out over the cores that the others work on
        os.environ.setdefault("NPROC", "1")
    _set_up_jax(platform)
    from streamdet.detection.jax_engine import JaxEngine

    size = frames_per_block(bundle, block_s)
    return JaxEngine(bundle, streams=streams, block_frames=size, pipelined=pipelined)


def _lockstep_engine(bundle: Bundle, platform: Platform, streams: int) -> Engine:
    if platform is Platform.numpy:
        raise PlatformError("--batch: numpy hears one file at a time; give --platform cpu or gpu")
    if isinstance(bundle.model, ServedTagger):
        raise PlatformError(f"--batch: {bundle.name} is a tagger, which hears one file at a time")
    _set_up_jax(platform)
    from streamdet.detection.lockstep import LockstepEngine

    return LockstepEngine(
        bundle, streams=streams, block_frames=frames_per_block(bundle, FILE_BLOCK_S)
    )


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


def available_cores() -> int:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
