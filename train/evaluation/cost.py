"""Arithmetic cost of a network: multiplications and additions for a second of sound."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from streamdet.model.config import FrontendConfig, ModelConfig, TaggerModelConfig

EMBEDDING = 128


class DetectorCost(NamedTuple):
    """Operations per second of sound in the three stages of a detector."""

    frontend: float
    encoder: float
    recurrent_head: float


def count_detector_operations(front: FrontendConfig, model: ModelConfig) -> DetectorCost:
    """Count the operations of a detector, by stage.

    A real FFT of n points counts 2.5 n log2(n), half of the usual count of a complex one.
    """
    frames = front.sample_rate / front.hop
    ticks, rate = frames / model.stride, frames
    n = front.n_fft
    frontend = frames * (
        front.window + 2.5 * n * np.log2(n) + 3 * (n // 2 + 1) + 2 * (n // 2 + 1) * front.bands
    )
    encoder, width = 0.0, model.bands * model.views
    for i, ((channels, kernel, stride), out) in enumerate(
        zip(model.conv, model.widths(), strict=True)
    ):
        rate /= stride
        inputs = model.patch[0] * model.views if i == 0 and model.patch else width
        positions = model.positions if i == 0 else 1
        encoder += rate * positions * 2 * kernel * inputs * channels
        width = out
    encoder += sum(ticks * 2 * kernel * width * width for kernel, _ in model.residual)
    recurrent_head = 0.0
    for cells in model.cells:
        recurrent_head += ticks * 2 * (width + cells) * 4 * cells
        width = cells
    recurrent_head += ticks * 2 * width * len(model.labels)
    return DetectorCost(frontend, encoder, recurrent_head)


def count_tagger_operations(model: TaggerModelConfig, width: int = EMBEDDING) -> float:
    """Count the operations of a tagger's layers that run for each second, without VGGish."""
    attention = model.pooling == "attention"
    total, directions = 0.0, 2 if attention and model.both_ways else 1
    if attention:
        total, width = 2.0 * width * model.dense, model.dense
    dense = width
    for cells in model.cells:
        total += directions * 2 * (width + cells) * 4 * cells
        width = directions * cells
    if attention:
        total += 2 * 2 * (width + (dense if model.skip and model.cells else 0)) * model.classes
    return total
