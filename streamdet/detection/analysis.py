"""What a step of any network finds in a block of streams, in numpy's arrays or in JAX's."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

RISE = 2
"""Hops over which flux is taken."""
POWER_TO_DB = 10.0 / float(np.log(10.0))
"""A natural logarithm of power times this is decibels."""

Array = Any
"""An array of numpy or of JAX."""


class BlockAnalysis(NamedTuple):
    """A block's results: ``scores`` (streams, t, labels), ``flux`` (streams, t, stride) in
    dB, ``level`` (streams, t) mean square; float32."""

    scores: Array
    flux: Array
    level: Array


def flux_db(history: Array, to_db: float, stride: int) -> Array:
    """The mean over the bands of the rise over two hops, falls counted as none (Dixon, *Onset
    Detection Revisited*, DAFx 2006): ``(streams, t / stride, stride)`` of log-mel frames
    ``(streams, 2 + t, bands)`` that are decibels when multiplied by ``to_db``."""
    rises = (history[:, RISE:] - history[:, :-RISE]).clip(0.0).mean(axis=2)
    return (rises * to_db).reshape(history.shape[0], -1, stride)


def mean_square(samples: Array, frames: int) -> Array:
    """``(streams, n)`` samples as ``(streams, frames)`` levels."""
    return (samples**2).reshape(len(samples), frames, -1).mean(axis=2)
