"""How a step moves the weights: AdamW, and Muon where a weight is a matrix.

Muon (Jordan et al., 2024) orthogonalises the momentum of a matrix, so that all its
directions learn at one pace; scaled to AdamW's root mean square (Liu et al., *Muon is
Scalable for LLM Training*, 2025). Biases and normalisations stay with AdamW.
"""

from __future__ import annotations

from typing import Any

import jax
import optax
from optax import contrib

from streamdet.model.config import Params
from train.detector.config import TrainConfig
from train.detector.freezing import leaving

MUON_RMS = 0.2


def optimizer(config: TrainConfig) -> optax.GradientTransformation:
    """A warm-up and a cosine to zero, gradients clipped by their global norm; Muon for
    matrices and kernels where ``config.matrix_rate`` is above zero."""
    matrices: Any = _matrices
    if config.matrix_rate:
        moved = contrib.muon(
            _schedule(config, config.matrix_rate),
            weight_decay=config.matrix_decay,
            consistent_rms=MUON_RMS,
            adam_learning_rate=_schedule(config, config.learning_rate),
            adam_weight_decay=config.weight_decay,
            muon_weight_dimension_numbers=matrices,
        )
    else:
        moved = optax.adamw(
            _schedule(config, config.learning_rate), weight_decay=config.weight_decay
        )
    clipped = optax.chain(optax.clip_by_global_norm(config.clip_norm), moved)
    return leaving(config.frozen, clipped)


def _schedule(config: TrainConfig, highest: float) -> optax.Schedule:
    return optax.warmup_cosine_decay_schedule(0.0, highest, config.warmup, config.steps)


def _matrices(params: Params) -> Params:
    """For each weight what Muon takes for rows and columns; None is left to AdamW. A
    convolution's kernel is a matrix of (time x inputs, outputs)."""

    def of(weight: jax.Array) -> contrib.MuonDimensionNumbers | None:
        if weight.ndim < 2:
            return None
        return contrib.MuonDimensionNumbers(tuple(range(weight.ndim - 1)), (weight.ndim - 1,))

    return jax.tree.map(of, params)
