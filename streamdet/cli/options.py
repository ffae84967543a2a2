"""Options that several commands share, and how they become a bundle and a decision."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streamdet.cli.failure import Failure

if TYPE_CHECKING:
    from streamdet.detect.decision import DecisionConfig
    from streamdet.detect.engine import Engine
    from streamdet.model.bundle import Bundle

LIVE_BLOCK_S = 0.08
"""The sound of one live step."""

Threshold = Annotated[
    float | None, typer.Option(help="Probability that opens an event, above 0 and below 1.")
]
Point = Annotated[
    str | None,
    typer.Option("--operating-point", help="A threshold by name: sensitive, balanced, strict."),
]
Model = Annotated[
    Path | None, typer.Option(help="A bundle's folder; the shipped one if not given.")
]
Channel = Annotated[
    int | None, typer.Option(help="Hear this channel alone, from 1; their mean if not given.")
]


def load_bundle(model: Path | None) -> Bundle:
    """The bundle, or a Failure with its line."""
    from streamdet.model import bundle

    try:
        return bundle.load(model)
    except bundle.BundleError as error:
        raise Failure(str(error)) from error


def decision_for(bundle: Bundle, threshold: float | None, point: str | None) -> DecisionConfig:
    """A threshold goes before a named point, and the bundle's default is last."""
    from streamdet.detect.decision import DecisionConfig

    if threshold is not None and point is not None:
        raise Failure("--threshold and --operating-point: give one of them")
    if threshold is not None:
        if not 0.0 < threshold < 1.0:
            raise Failure(f"--threshold {threshold:g}: must be above 0 and below 1")
        return DecisionConfig(threshold)
    name = point or bundle.default_point
    if name not in bundle.operating_points:
        there = ", ".join(bundle.operating_points)
        raise Failure(f"--operating-point {name}: this bundle has: {there}")
    return DecisionConfig(bundle.operating_points[name].threshold)


def build_engine(bundle: Bundle, block_s: float) -> Engine:
    """An engine of one stream on the CPU for blocks of about so many seconds, its compiled step
    kept for the next start."""
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    import jax

    if (cache := _compilation_cache()) is not None:
        jax.config.update("jax_compilation_cache_dir", str(cache))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    from streamdet.detect.engine import Engine, block_frames

    return Engine(bundle, block_frames=block_frames(bundle, block_s))


def _compilation_cache() -> Path | None:
    """Where compiled steps are kept; None where no folder can be written."""
    try:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        folder = base / "streamdet" / "jax"
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):
        return None
    return folder if os.access(folder, os.W_OK) else None


def parse_clock(text: str | None, option: str) -> float | None:
    """Seconds from ``90``, ``1:30.5`` or ``1:02:03``; None from None."""
    if text is None:
        return None
    if not re.fullmatch(r"(\d+:)?(\d{1,2}:)?\d+(\.\d+)?", text):
        raise Failure(f"{option} {text}: not a time; write seconds, or H:MM:SS")
    seconds = 0.0
    for part in text.split(":"):
        seconds = seconds * 60.0 + float(part)
    return seconds
