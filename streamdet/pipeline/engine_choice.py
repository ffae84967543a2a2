"""Chooses the engine: numpy, which starts at once in little memory, onnxruntime for long files, or
JAX for taggers, accelerators and batches.

Each function takes ``configure``, which is called with the chosen platform before JAX is used.
Programs pass `streamdet.pipeline.jax_setup.configure_jax`; without it nothing global is changed.
"""

from __future__ import annotations

import importlib.util
import math
import os
from typing import TYPE_CHECKING, Any, Protocol

from streamdet.detection.engine import Engine, StreamProvider, frames_per_block
from streamdet.detection.window_scorer import WindowScorer, create_scorer
from streamdet.model.bundle import Bundle, BundleError
from streamdet.model.tagger_bundle import ServedTagger
from streamdet.pipeline.platform import Platform, PlatformError

if TYPE_CHECKING:
    from streamdet.detection.lockstep import LockstepBatch

LIVE_BLOCK_S = 0.04
"""Length of a live step. It adds to the latency of every detection."""
FILE_BLOCK_S = 5.12
"""Length of a step over a file: long enough that the cost per step is small."""
ONNX_BLOCK_S = 2.56
"""Length of a step of onnxruntime over a file. The arrays of longer ones leave the cache."""
MIN_ONNX_S, MIN_JAX_S = 300.0, 1_200.0
"""The length of audio from which a runtime's speed outweighs its start-up time."""

_MIN_SLOTS = 8


class JaxConfigurator(Protocol):
    """`streamdet.pipeline.jax_setup.configure_jax`, or a function like it."""

    def __call__(self, platform: Platform, *, single_threaded: bool = False) -> None:
        """Apply process-wide settings."""
        ...


def live_engine(
    bundle: Bundle, platform: Platform = Platform.auto, configure: JaxConfigurator | None = None
) -> Engine[Any]:
    """An engine for one live stream. Raises PlatformError, as all functions here do, if the
    platform is not available or can't run the bundle."""
    platform = choose_platform(bundle, platform)
    if platform is Platform.numpy:
        return _numpy_engine(bundle)
    if platform is Platform.onnx:
        return _onnx_engine(bundle, LIVE_BLOCK_S)
    return _jax_engine(bundle, platform, LIVE_BLOCK_S, configure=configure)


def live_batch_engine(
    bundle: Bundle, platform: Platform, sources: int, configure: JaxConfigurator | None = None
) -> Engine[Any]:
    """An engine for at least ``sources`` live streams. With JAX it has spare slots, so that adding
    a source does not compile again."""
    platform = choose_platform(bundle, platform)
    sources = max(1, sources)
    if platform is Platform.numpy:
        return _numpy_engine(bundle, sources)
    if platform is Platform.onnx:
        return _onnx_engine(bundle, LIVE_BLOCK_S, streams=sources)
    slots = max(_MIN_SLOTS, 1 << (sources - 1).bit_length())
    return _jax_engine(bundle, platform, LIVE_BLOCK_S, streams=slots, configure=configure)


def file_engine(
    bundle: Bundle,
    platform: Platform = Platform.auto,
    seconds: float | None = None,
    configure: JaxConfigurator | None = None,
) -> Engine[Any]:
    """An engine for ``seconds`` of files, one after another; None if the length is unknown."""
    platform = choose_platform(bundle, platform, seconds or 0.0)
    if platform is Platform.numpy:
        return _numpy_engine(bundle)
    pipelined = available_cores() > 1
    if platform is Platform.onnx:
        return _onnx_engine(bundle, ONNX_BLOCK_S, pipelined=pipelined)
    pipelined &= platform is Platform.cpu
    return _jax_engine(bundle, platform, FILE_BLOCK_S, pipelined=pipelined, configure=configure)


def file_batch(
    bundle: Bundle, platform: Platform, streams: int, configure: JaxConfigurator | None = None
) -> LockstepBatch[Any]:
    """A batch for several files side by side, ``streams`` streams at most."""
    if platform in (Platform.numpy, Platform.onnx):
        raise PlatformError(
            f"--batch: {platform} analyses one file at a time. Use --platform cpu or gpu"
        )
    platform = choose_platform(bundle, Platform.cpu if platform is Platform.auto else platform)
    if isinstance(bundle.model, ServedTagger):
        raise PlatformError(f"--batch: {bundle.name} is a tagger, which takes one file at a time")
    from streamdet.detection.lockstep import LockstepBatch

    return LockstepBatch(
        _jax_engine(bundle, platform, FILE_BLOCK_S, streams=streams, configure=configure)
    )


def scan_engine(
    bundle: Bundle, platform: Platform = Platform.cpu, configure: JaxConfigurator | None = None
) -> Engine[Any]:
    """An engine for one of many processes, for files one after another; single-threaded."""
    platform = choose_platform(bundle, platform, math.inf)
    if platform is Platform.numpy:
        return _numpy_engine(bundle)
    if platform is Platform.onnx:
        return _onnx_engine(bundle, ONNX_BLOCK_S)
    return _jax_engine(bundle, platform, FILE_BLOCK_S, single_threaded=True, configure=configure)


def choose_platform(bundle: Bundle, platform: Platform, seconds: float = 0.0) -> Platform:
    """The platform that ``auto`` stands for over ``seconds`` of files, or ``platform`` itself.

    Raises PlatformError if it can't run the bundle or is not installed.
    """
    tagger = isinstance(bundle.model, ServedTagger)
    if platform is Platform.auto:
        platform = Platform.cpu if tagger else _detector_platform(bundle, seconds)
    if platform in (Platform.numpy, Platform.onnx):
        if tagger:
            raise PlatformError(f"--platform {platform}: {bundle.name} is a tagger. It needs JAX")
        if platform is Platform.onnx:
            _check_onnx(bundle)
    elif not _is_installed("jax", "flax"):
        raise PlatformError(f"--platform {platform}: JAX is not installed: pip install jax flax")
    return platform


def _detector_platform(bundle: Bundle, seconds: float) -> Platform:
    if seconds >= MIN_ONNX_S and bundle.has_graphs and _is_installed("onnxruntime"):
        return Platform.onnx
    return Platform.cpu if seconds >= MIN_JAX_S and _is_installed("jax", "flax") else Platform.numpy


def _check_onnx(bundle: Bundle) -> None:
    if not _is_installed("onnxruntime"):
        raise PlatformError("--platform onnx: not installed: pip install onnxruntime")
    if not bundle.has_graphs:
        raise PlatformError(
            f"--platform onnx: {bundle.name} has no ONNX graphs. Make them from a checkout: "
            "python -m train graphs BUNDLE"
        )


def available_cores() -> int:
    """The number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def scorer_for(
    bundle: Bundle, engine: StreamProvider, *, verify: bool = True
) -> WindowScorer | None:
    """The scorer of a bundle's verifier, in onnxruntime if the engine uses it; None without a
    verifier, or if ``verify`` is False. Raises PlatformError for a damaged graph."""
    try:
        onnx = isinstance(engine, Engine) and engine.onnx
        return create_scorer(bundle, verify=verify, onnx=onnx)
    except BundleError as error:
        raise PlatformError(str(error)) from error


def _is_installed(*packages: str) -> bool:
    return all(importlib.util.find_spec(name) is not None for name in packages)


def _onnx_engine(
    bundle: Bundle, block_s: float, *, streams: int = 1, pipelined: bool = False
) -> Engine[Any]:
    from streamdet.detection.onnx_engine import OnnxEngine

    frames = frames_per_block(bundle, block_s)
    try:
        return OnnxEngine(bundle, streams=streams, block_frames=frames, pipelined=pipelined)
    except BundleError as error:
        raise PlatformError(str(error)) from error


def _numpy_engine(bundle: Bundle, streams: int = 1) -> Engine[Any]:
    from streamdet.detection.numpy_engine import NumpyEngine

    return NumpyEngine(bundle, streams=streams, block_frames=1)


def _jax_engine(
    bundle: Bundle,
    platform: Platform,
    block_s: float,
    *,
    streams: int = 1,
    pipelined: bool = False,
    single_threaded: bool = False,
    configure: JaxConfigurator | None,
) -> Engine[Any]:
    if configure is not None:
        # The threads of a pipelined engine use all cores; XLA's own pool would compete with them.
        on_cpu = platform is Platform.cpu
        configure(platform, single_threaded=on_cpu and (pipelined or single_threaded))
    import jax

    from streamdet.detection.jax_engine import JaxEngine

    try:
        jax.devices(platform.value)
    except RuntimeError as error:
        raise PlatformError(
            f"--platform {platform}: JAX finds no {platform} on this machine. How to install JAX "
            "for it: https://docs.jax.dev/en/latest/installation.html"
        ) from error
    return JaxEngine(
        bundle,
        streams=streams,
        block_frames=frames_per_block(bundle, block_s),
        pipelined=pipelined,
        platform=platform.value,
    )
