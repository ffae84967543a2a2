"""Where a network can be told to run."""

from __future__ import annotations

from enum import StrEnum


class Platform(StrEnum):
    """By numpy, or by JAX on one of its platforms."""

    auto = "auto"
    numpy = "numpy"
    cpu = "cpu"
    gpu = "gpu"
    tpu = "tpu"


class PlatformError(ValueError):
    """This bundle or machine can't be used so; the message is one line."""
