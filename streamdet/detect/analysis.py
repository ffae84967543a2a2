"""What a step of any network finds in a block of streams."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

RISE = 2
"""Hops over which flux is taken."""


class Analysis(NamedTuple):
    """A block's results: ``scores`` (streams, t, labels), ``flux`` (streams, t, stride) in
    dB, ``level`` (streams, t) mean square; float32."""

    scores: jax.Array
    flux: jax.Array
    level: jax.Array


def flux_db(history: jax.Array, to_db: float, stride: int) -> jax.Array:
    """The mean over the bands of the rise over two hops, falls counted as none (Dixon, *Onset
    Detection Revisited*, DAFx 2006): ``(streams, t / stride, stride)`` of log-mel frames
    ``(streams, 2 + t, bands)`` that are decibels when multiplied by ``to_db``."""
    rises = jnp.maximum(0.0, history[:, RISE:] - history[:, :-RISE]).mean(axis=2)
    return (rises * to_db).reshape(history.shape[0], -1, stride)
