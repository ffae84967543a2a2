"""The teacher head: a network on the features of the taggers. It looks in both directions, so it is
not causal and serves only as a teacher."""

from __future__ import annotations

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from streamdet.model.config import Params
from streamdet.model.lstm import Lstm, LstmState
from train.distillation.config import TeacherHeadConfig

GROUPS = ("fast", "medium", "slow")
REPEATS = (1, 2, 4)
"""Ticks of 80 ms in a step of each group of features."""
MN04_DIMS = (256, 384, 768)
"""mn04's share of each group; it follows YAMNet's."""


class FeatureBatch(NamedTuple):
    """Features of n scenes, one array for each group: (n, steps, dims) float16 or float32."""

    fast: Any
    medium: Any
    slow: Any


class FeatureScale(NamedTuple):
    """The mean and the reciprocal standard deviation of each feature, by group."""

    mean: FeatureBatch
    scale: FeatureBatch


def measure_scale(batches: list[FeatureBatch]) -> FeatureScale:
    """The mean and scale of the features of some scenes."""
    means, scales = [], []
    for group in GROUPS:
        rows = np.concatenate([np.asarray(getattr(b, group), np.float32) for b in batches])
        rows = rows.reshape(-1, rows.shape[-1])
        means.append(rows.mean(axis=0))
        scales.append(1.0 / (rows.std(axis=0) + 1e-3))
    return FeatureScale(FeatureBatch(*means), FeatureBatch(*scales))


class TeacherHead(nn.Module):
    """Features to logits: a dense layer, an LSTM in each direction, a linear layer."""

    config: TeacherHeadConfig

    @nn.compact
    def __call__(self, features: FeatureBatch, *, train: bool = False) -> jax.Array:
        """Standardised features to ``(n, ticks, labels)`` logits."""
        config = self.config
        ticks = features.fast.shape[1]
        drop = nn.Dropout(config.dropout, broadcast_dims=(1,), deterministic=not train)
        x = jnp.zeros((*features.fast.shape[:2], config.dense))
        for group, repeat, mn04_dims in zip(GROUPS, REPEATS, MN04_DIMS, strict=True):
            part = _select_taggers(getattr(features, group), config.taggers, mn04_dims)
            part = nn.Dense(config.dense, use_bias=group == "fast", name=f"dense_{group}")(part)
            x += jnp.repeat(part, repeat, axis=1)[:, :ticks]
        x = drop(nn.relu(nn.LayerNorm(name="norm")(x)))
        zeros = jnp.zeros((x.shape[0], config.cells))
        state = LstmState(zeros, zeros)
        _, forward = Lstm(config.cells, name="forward")(state, x)
        _, backward = Lstm(config.cells, name="backward")(state, x[:, ::-1])
        x = drop(jnp.concatenate([forward, backward[:, ::-1]], axis=-1))
        return nn.Dense(len(config.labels), name="head")(x)


def _select_taggers(x: jax.Array, taggers: tuple[str, ...], mn04_dims: int) -> jax.Array:
    if taggers == ("yamnet",):
        return x[..., :-mn04_dims]
    return x[..., -mn04_dims:] if taggers == ("mn04",) else x


def standardise(scale: FeatureScale, features: FeatureBatch) -> FeatureBatch:
    """Features of mean 0 and variance 1, limited to +-8, as float32."""
    return jax.tree.map(
        lambda x, mean, factor: jnp.clip((x.astype(jnp.float32) - mean) * factor, -8.0, 8.0),
        features,
        scale.mean,
        scale.scale,
    )


def apply_head(
    config: TeacherHeadConfig,
    params: Params,
    scale: FeatureScale,
    features: FeatureBatch,
    key: jax.Array | None = None,
) -> jax.Array:
    """Features to ``(n, ticks, labels)`` logits; with ``key`` in training mode."""
    standard = standardise(scale, features)
    if key is None:
        result: Any = TeacherHead(config).apply({"params": params}, standard)
        return result
    noise_key, drop_key = jax.random.split(key)
    if config.feature_noise:
        keys = jax.random.split(noise_key, 3)
        standard = FeatureBatch(
            *(
                x + config.feature_noise * jax.random.normal(k, x.shape)
                for x, k in zip(standard, keys, strict=True)
            )
        )
    result = TeacherHead(config).apply(
        {"params": params}, standard, train=True, rngs={"dropout": drop_key}
    )
    return result
