"""The platforms that an engine can run on."""

from __future__ import annotations

from enum import StrEnum


class Platform(StrEnum):
    """``numpy``, ``onnx`` for onnxruntime, or one of JAX's platforms. ``auto`` chooses among those
    on the CPU."""

    auto = "auto"
    numpy = "numpy"
    onnx = "onnx"
    cpu = "cpu"
    gpu = "gpu"
    tpu = "tpu"


class PlatformError(ValueError):
    """This bundle can't run on this platform or machine; the message is one line."""
