"""The detector's network: encoder and recurrent head, from log-mel frames to logits.

``step(config, params, state, frames) -> (state, logits)`` takes ``(streams, f, bands) float32``
log-mel frames, f a multiple of ``config.stride``, and returns ``(streams, f / stride, labels)
float32`` logits. The network is causal and all memory is in the state, so blocks of any number of
strides give the same results.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from streamdet.model.config import ModelConfig, Params
from streamdet.model.encoder import EncoderState, encoder_layers
from streamdet.model.lstm import LstmState
from streamdet.model.recurrent_head import head_layers


class NetworkState(NamedTuple):
    """``encoder``: the encoder's state. ``head``: the state of each LSTM."""

    encoder: EncoderState
    head: tuple[LstmState, ...]


class DetectorNetwork(nn.Module):
    """The network as a Flax module. Most callers use `step` and `init_params`."""

    config: ModelConfig
    dropout: float = 0.0

    @nn.compact
    def __call__(
        self, state: NetworkState, frames: jax.Array, *, train: bool = False
    ) -> tuple[NetworkState, jax.Array]:
        """``(streams, f, bands)`` to logits. ``train`` enables dropout, with one mask for a whole
        block (Gal & Ghahramani, *Dropout in Recurrent Neural Networks*, 2016)."""
        encoder, x = encoder_layers(self.config, state.encoder, frames)
        drop = nn.Dropout(self.dropout, broadcast_dims=(1,), deterministic=not train)
        head, logits = head_layers(self.config, state.head, x, drop)
        return NetworkState(encoder, head), logits


def layer_names(config: ModelConfig) -> list[list[str]]:
    """The names of the layers, input first; layers that belong together share a list."""
    conv = [[f"conv_{i}", *([f"norm_{i}"] if config.norm else [])] for i in range(len(config.conv))]
    residual = [[f"residual_{i}", f"residual_{i}_norm"] for i in range(len(config.residual))]
    norm = "lstm_{}_norm" if config.norm_cells else None
    lstms = [[f"lstm_{i}", *([norm.format(i)] if norm else [])] for i in range(len(config.cells))]
    return [*conv, *residual, *lstms, ["head"]]


def init_state(config: ModelConfig, streams: int) -> NetworkState:
    """The initial state of ``streams`` streams: all zeros."""
    zeros = lambda *shape: jnp.zeros((streams, *shape), jnp.float32)  # noqa: E731
    tails = tuple(zeros(*tail) for tail in config.tails())
    background = tuple(zeros(config.bands) for _ in config.backgrounds)
    head = tuple(LstmState(zeros(cells), zeros(cells)) for cells in config.cells)
    return NetworkState(EncoderState(tails, background), head)


def init_params(config: ModelConfig, key: jax.Array) -> Params:
    """Random initial parameters."""
    frames = jnp.zeros((1, config.stride, config.bands), jnp.float32)
    variables: Any = jax.jit(DetectorNetwork(config).init)(key, init_state(config, 1), frames)
    return variables["params"]


def step(
    config: ModelConfig, params: Params, state: NetworkState, frames: jax.Array
) -> tuple[NetworkState, jax.Array]:
    """``(streams, f, bands) -> (streams, f // stride, labels)`` logits, and the new state.

    Raises ValueError, at trace time, if ``f`` is not a multiple of ``config.stride``.
    """
    if frames.shape[1] % config.stride:
        raise ValueError(f"{frames.shape[1]} frames are not a multiple of {config.stride}")
    return apply(DetectorNetwork(config), params, state, frames)


def apply(
    module: DetectorNetwork,
    params: Params,
    state: NetworkState,
    frames: jax.Array,
    dropout_key: jax.Array | None = None,
) -> tuple[NetworkState, jax.Array]:
    """Run a module like `step`; with ``dropout_key`` in training mode."""
    train = dropout_key is not None
    rngs = {"dropout": dropout_key} if train else {}
    result: Any = module.apply({"params": params}, state, frames, train=train, rngs=rngs)
    return result
