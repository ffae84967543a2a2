"""The recurrent head: features to logits, by LSTMs and a linear layer.

The last of the network's three stages, after the encoder.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax

from streamdet.model.config import ModelConfig, Params
from streamdet.model.lstm import Lstm, LstmState


class RecurrentHead(nn.Module):
    """The recurrent head as a Flax module; takes the parameters of the whole network."""

    config: ModelConfig

    @nn.compact
    def __call__(
        self, state: tuple[LstmState, ...], x: jax.Array
    ) -> tuple[tuple[LstmState, ...], jax.Array]:
        """``(streams, t, width)`` to ``(streams, t, labels)`` logits."""
        return head_layers(self.config, state, x, lambda x: x)


def head_layers(
    config: ModelConfig,
    state: tuple[LstmState, ...],
    x: jax.Array,
    drop: Callable[[jax.Array], jax.Array],
) -> tuple[tuple[LstmState, ...], jax.Array]:
    """Build the head's layers. Call it inside a compact module, which then owns them.

    ``drop`` is applied to the input of every layer.
    """
    states = []
    for i, cells in enumerate(config.cells):
        x = drop(x)
        layer_input = nn.LayerNorm(name=f"lstm_{i}_norm")(x) if config.norm_cells else x
        carried, hidden = Lstm(cells, name=f"lstm_{i}")(state[i], layer_input)
        x = x + hidden if x.shape[-1] == cells else hidden
        states.append(carried)
    return tuple(states), nn.Dense(len(config.labels), name="head")(drop(x))


def run_head(
    config: ModelConfig, params: Params, state: tuple[LstmState, ...], x: jax.Array
) -> tuple[tuple[LstmState, ...], jax.Array]:
    """Run the head: the encoder's features ``(streams, t, width)`` to logits ``(streams, t,
    labels)``."""
    result: Any = RecurrentHead(config).apply({"params": params}, state, x)
    return result
