"""Onset strength and level of a block, for numpy and JAX arrays alike."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeVar, cast

import numpy as np

if TYPE_CHECKING:
    import jax

FLUX_LAG = 2
"""Log-mel frames between the two that the flux compares."""
POWER_TO_DB = 10.0 / float(np.log(10.0))
"""Decibels in one unit of the natural logarithm of power."""

ArrayT = TypeVar("ArrayT", np.ndarray, "jax.Array")


class BlockAnalysis(NamedTuple):
    """Results of one block, all float32: ``scores`` (streams, t, labels) in [0, 1], ``flux``
    (streams, t, stride) in dB, ``level`` (streams, t) mean square, ``log_mel`` (streams, t, stride,
    bands), or (streams, 0, 0, 0) from a tagger."""

    scores: jax.Array
    flux: jax.Array
    level: jax.Array
    log_mel: jax.Array


def flux_db(history: ArrayT, to_db: float, stride: int) -> ArrayT:
    """Spectral flux in dB: the rise over two frames, averaged over the bands, falls counted as 0.

    Dixon, *Onset Detection Revisited*, DAFx 2006. ``history``: (streams, 2 + t, bands) log-mel
    frames, which ``to_db`` scales to decibels. Returns (streams, t / stride, stride).
    """
    rises = (history[:, FLUX_LAG:] - history[:, :-FLUX_LAG]).clip(0.0).mean(axis=2)
    return cast("ArrayT", (rises * to_db).reshape(history.shape[0], -1, stride))


def mean_square(samples: ArrayT, frames: int) -> ArrayT:
    """The level of each frame: (streams, n) samples to (streams, frames)."""
    return cast("ArrayT", (samples**2).reshape(len(samples), frames, -1).mean(axis=2))
