"""The detector: two causal convolutions, two LSTMs, one linear head a frame.

``step(config, params, state, frames) -> (state, logits)``: ``(streams, f, bands) float32``
log-mel frames in, ``(streams, f / stride, labels) float32`` logits out, ``f`` a multiple of
``config.stride``. Nothing looks ahead; all memory is in the state, so a stream may be fed
in blocks of any number of strides with the same results.
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
    """All that a stream remembers: ``past`` of the layers up to the LSTMs, ``lstm`` a state for
    each of them."""

    encoder: EncoderState
    head: tuple[LstmState, ...]


class DetectorNetwork(nn.Module):
    """The network as a Flax module; `step` and `init_params` are its usual doors."""

    config: ModelConfig
    dropout: float = 0.0

    @nn.compact
    def __call__(
        self, state: NetworkState, frames: jax.Array, *, train: bool = False
    ) -> tuple[NetworkState, jax.Array]:
        """Logits of the frames; ``train`` switches dropout on, one mask for a whole block (Gal
        & Ghahramani, *Dropout in Recurrent Neural Networks*, 2016)."""
        past, x = encoder_layers(self.config, state.encoder, frames)
        drop = nn.Dropout(self.dropout, broadcast_dims=(1,), deterministic=not train)
        lstm, logits = head_layers(self.config, state.head, x, drop)
        return NetworkState(past, lstm), logits


def layer_names(config: ModelConfig) -> list[list[str]]:
    """The names of its layers from the input on, those that belong together in one list."""
    conv = [[f"conv_{i}", *([f"norm_{i}"] if config.norm else [])] for i in range(len(config.conv))]
    residual = [[f"residual_{i}", f"residual_{i}_norm"] for i in range(len(config.residual))]
    norm = "lstm_{}_norm" if config.norm_cells else None
    lstms = [[f"lstm_{i}", *([norm.format(i)] if norm else [])] for i in range(len(config.cells))]
    return [*conv, *residual, *lstms, ["head"]]


def init_state(config: ModelConfig, streams: int) -> NetworkState:
    """The state of ``streams`` streams that have heard nothing: all zeros."""
    tails = tuple(jnp.zeros((streams, *tail), jnp.float32) for tail in config.tails())
    lstm = tuple(LstmState(*(jnp.zeros((streams, c), jnp.float32),) * 2) for c in config.cells)
    means = tuple(jnp.zeros((streams, config.bands), jnp.float32) for _ in config.backgrounds)
    return NetworkState(EncoderState(tails, means), lstm)


def init_params(config: ModelConfig, key: jax.Array) -> Params:
    """Fresh parameters, a nested dict of float32 arrays."""
    frames = jnp.zeros((1, config.stride, config.bands), jnp.float32)
    variables: Any = DetectorNetwork(config).init(key, init_state(config, 1), frames)
    return variables["params"]


def step(
    config: ModelConfig, params: Params, state: NetworkState, frames: jax.Array
) -> tuple[NetworkState, jax.Array]:
    """``(streams, f, bands) -> (streams, f // stride, labels)`` logits, state carried.

    Raises ValueError, at trace time, where ``f`` is not a multiple of ``config.stride``.
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
    """`step` of a module; with a key for its dropout, as training runs it."""
    train = dropout_key is not None
    rngs = {"dropout": dropout_key} if train else {}
    answer: Any = module.apply({"params": params}, state, frames, train=train, rngs=rngs)
    return answer
