"""The optimizer of networks on sound: AdamW, and Muon for weights that are matrices.

Muon (Jordan et al., 2024) orthogonalises the momentum of a matrix, so that all its directions
are learned at one pace. Its updates are scaled to the root mean square of AdamW's (Liu et al.,
*Muon is Scalable for LLM Training*, 2025). Biases and normalisations stay with AdamW.
"""

from __future__ import annotations

from typing import Any

import jax
import optax
from jax.typing import ArrayLike
from optax import contrib

from streamdet.model.config import Params
from train.detector.config import OptimizerConfig
from train.detector.freezing import freeze_layers

MUON_RMS = 0.2


def make_optimizer(config: OptimizerConfig) -> optax.GradientTransformation:
    """A warm-up and a cosine to zero, with gradients clipped by their global norm. Muon updates
    matrices and kernels if ``config.matrix_rate`` is above zero; AdamW updates the rest."""
    matrices: Any = _choose_muon_dimensions
    if config.matrix_rate:
        updates = contrib.muon(
            _make_schedule(config, config.matrix_rate),
            weight_decay=config.matrix_decay,
            consistent_rms=MUON_RMS,
            adam_learning_rate=_make_schedule(config, config.learning_rate),
            adam_weight_decay=config.weight_decay,
            muon_weight_dimension_numbers=matrices,
        )
    else:
        updates = optax.adamw(
            _make_schedule(config, config.learning_rate), weight_decay=config.weight_decay
        )
    clipped = optax.chain(optax.clip_by_global_norm(config.clip_norm), updates)
    return freeze_layers(config.frozen, clipped)


def _make_schedule(config: OptimizerConfig, peak: float) -> optax.Schedule:
    return optax.warmup_cosine_decay_schedule(0.0, peak, config.warmup, config.steps)


def _choose_muon_dimensions(params: Params) -> Params:
    """The axes that Muon treats as rows and columns, for each weight; None leaves a weight to
    AdamW. The kernel of a convolution is a matrix of (time x inputs, outputs)."""

    def choose(weight: jax.Array) -> contrib.MuonDimensionNumbers | None:
        if weight.ndim < 2:
            return None
        return contrib.MuonDimensionNumbers(tuple(range(weight.ndim - 1)), (weight.ndim - 1,))

    return jax.tree.map(choose, params)


def update_average(average: Params, params: Params, share: ArrayLike) -> Params:
    """Move an average of the weights by ``share`` in [0, 1] towards ``params``.

    In this form an average that equals the weights stays the same to the last bit, so that frozen
    layers do not change.
    """
    return jax.tree.map(lambda mean, new: mean + share * (new - mean), average, params)
