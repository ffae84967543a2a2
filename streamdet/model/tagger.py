"""The taggers as Flax modules: the embeddings of a clip to a logit for each class.

``logits(config, params, frames, lengths) -> (rows, classes)``: ``frames`` (rows, seconds, 128)
uint8, of which the first ``lengths`` (rows,) of each row are valid; the rest is ignored. The LSTM
layer is the detector's (`streamdet.model.lstm.Lstm`).
"""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from streamdet.model.config import Params, TaggerModelConfig
from streamdet.model.lstm import Lstm, LstmState
from streamdet.model.vggish import WIDTH, dequantise

MIN_PROBABILITY = 1e-7


class LastStateTagger(nn.Module):
    """The YouTube-8M starter code's frame-level LSTM (Abu-El-Haija et al., 2016, section 4)."""

    config: TaggerModelConfig

    @nn.compact
    def __call__(self, x: jax.Array, lengths: jax.Array, *, train: bool = False) -> jax.Array:
        """Logits of ``(rows, seconds, 128)`` float32 features."""
        del train  # no dropout
        x = x * jax.lax.rsqrt(jnp.maximum(jnp.sum(x**2, axis=-1, keepdims=True), 1e-12))
        seconds = x.shape[1]
        positions = jnp.arange(seconds) - (seconds - lengths[:, None])  # align ends to the right
        x = jnp.take_along_axis(x, jnp.maximum(positions, 0)[..., None], axis=1)
        last = []
        for i, cells in enumerate(self.config.cells):
            initial = LstmState(*(jnp.zeros((len(x), cells), x.dtype),) * 2)
            final, x = Lstm(cells, name=f"lstm_{i}")(initial, x, positions >= 0)
            last += [final.cell, final.hidden]
        state = jnp.concatenate(last, axis=-1)
        if not self.config.mixtures:
            return _calibrate(self.config, nn.Dense(self.config.classes, name="logistic")(state))
        return _calibrate(self.config, _mixture(self.config, state))


def _mixture(config: TaggerModelConfig, state: jax.Array) -> jax.Array:
    """Logits of a mixture of logistic experts per class, plus one expert that is always 0 (Jordan
    & Jacobs, 1994)."""
    classes, experts = config.classes, config.mixtures
    gates = nn.Dense(classes * (experts + 1), use_bias=False, name="gates")(state)
    votes = nn.Dense(classes * experts, name="experts")(state)
    gates = nn.softmax(gates.reshape(-1, classes, experts + 1))
    p = jnp.sum(gates[..., :experts] * nn.sigmoid(votes.reshape(-1, classes, experts)), axis=-1)
    p = jnp.clip(p, MIN_PROBABILITY, 1.0 - MIN_PROBABILITY)
    return jnp.log(p) - jnp.log1p(-p)


class AttentionTagger(nn.Module):
    """A dense layer, LSTMs in one or both directions, and attention pooling for every class."""

    config: TaggerModelConfig
    dropout_in: float = 0.0
    dropout: float = 0.0

    @nn.compact
    def __call__(self, x: jax.Array, lengths: jax.Array, *, train: bool = False) -> jax.Array:
        """Logits of ``(rows, seconds, 128)`` float32 features."""
        inside = jnp.arange(x.shape[1]) < lengths[:, None]
        drop = lambda p, y: nn.Dropout(p, deterministic=not train)(y)  # noqa: E731
        x = nn.LayerNorm(name="norm_in")(x)
        x = drop(self.dropout_in, x)
        x = dense = drop(self.dropout, nn.relu(nn.Dense(self.config.dense, name="dense")(x)))
        for i, cells in enumerate(self.config.cells):
            outputs = [_run_lstm(Lstm(cells, name=f"lstm_{i}"), x, lengths)]
            if self.config.both_ways:
                backward = Lstm(cells, name=f"lstm_{i}_back")
                outputs.append(_run_lstm(backward, x, lengths, backward=True))
            x = jnp.concatenate(outputs, axis=-1)
            x = drop(self.dropout, nn.LayerNorm(name=f"norm_{i}")(x))
        if self.config.skip:
            x = jnp.concatenate([x, dense], axis=-1)
        votes = nn.Dense(self.config.classes, name="votes")(x)
        attention = nn.Dense(self.config.classes, name="attention")(x)
        weight = nn.softmax(jnp.where(inside[..., None], attention, -1e9), axis=1)
        p = jnp.clip(
            jnp.sum(weight * nn.sigmoid(votes), axis=1), MIN_PROBABILITY, 1.0 - MIN_PROBABILITY
        )
        return _calibrate(self.config, jnp.log(p) - jnp.log1p(-p))


class ClassCalibration(nn.Module):
    """Logits with a common scale and a bias for each class."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """``(rows, classes)``, calibrated."""
        scale = self.param("scale", nn.initializers.ones, (1,))
        return x * scale + self.param("bias", nn.initializers.zeros, (x.shape[-1],))


def _calibrate(config: TaggerModelConfig, x: jax.Array) -> jax.Array:
    return ClassCalibration(name="calibration")(x) if config.calibrated else x


def _run_lstm(lstm: Lstm, x: jax.Array, lengths: jax.Array, backward: bool = False) -> jax.Array:
    """All hidden values, (rows, seconds, cells); ``backward`` starts at each row's last second."""
    state = LstmState(*(jnp.zeros((x.shape[0], lstm.cells), x.dtype),) * 2)
    if not backward:
        return lstm(state, x)[1]
    reverse = jnp.maximum(lengths[:, None] - 1 - jnp.arange(x.shape[1]), 0)[..., None]
    hidden = lstm(state, jnp.take_along_axis(x, reverse, axis=1))[1]
    return jnp.take_along_axis(hidden, reverse, axis=1)


def build_tagger(
    config: TaggerModelConfig, dropout_in: float = 0.0, dropout: float = 0.0
) -> nn.Module:
    """The tagger of a config. Dropout acts in training only."""
    if config.pooling == "last_state":
        return LastStateTagger(config)
    return AttentionTagger(config, dropout_in, dropout)


def layer_names(config: TaggerModelConfig) -> list[list[str]]:
    """The names of the layers, input first; layers that belong together share a list."""
    last = ["calibration"] if config.calibrated else []
    names = [f"lstm_{i}" for i in range(len(config.cells))]
    if config.pooling == "last_state":
        head = ["gates", "experts"] if config.mixtures else ["logistic"]
        return [*([name] for name in names), head + last]
    backward = [[f"{name}_back"] if config.both_ways else [] for name in names]
    lstms = [[f"lstm_{i}", *backward[i], f"norm_{i}"] for i in range(len(names))]
    return [["norm_in", "dense"], *lstms, ["votes", "attention", *last]]


def init_params(config: TaggerModelConfig, key: jax.Array) -> Params:
    """Random initial parameters."""
    x, lengths = jnp.zeros((1, 2, WIDTH)), jnp.full((1,), 2)
    variables: Any = jax.jit(build_tagger(config).init)(key, x, lengths)
    return variables["params"]


def logits(
    config: TaggerModelConfig, params: Params, frames: jax.Array, lengths: jax.Array
) -> jax.Array:
    """Logits ``(rows, classes)`` of quantised embeddings ``(rows, seconds, 128) uint8``."""
    return apply(build_tagger(config), params, dequantise(frames), lengths)


def apply(
    tagger: nn.Module,
    params: Params,
    x: jax.Array,
    lengths: jax.Array,
    dropout_key: jax.Array | None = None,
) -> jax.Array:
    """Logits of ``(rows, seconds, 128) float32`` features; with ``dropout_key`` in training
    mode."""
    train = dropout_key is not None
    rngs = {"dropout": dropout_key} if train else {}
    result: Any = tagger.apply({"params": params}, x, lengths, train=train, rngs=rngs)
    return result
