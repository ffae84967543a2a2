"""An LSTM layer as a Flax module that carries its state from block to block.

Hochreiter & Schmidhuber, *Neural Computation* 9(8), 1997, with the forget gate of Gers et al.,
2000. The input projection of a whole block is one matrix product; only the recurrent product
is computed tick by tick (`streamdet.model.recurrence`).
"""

from __future__ import annotations

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from streamdet.model.recurrence import lstm_scan

CLOSED_GATE = 1e9
"""Subtracted from a gate's logit to close the gate."""


class LstmState(NamedTuple):
    """``hidden`` and ``cell``: (streams, cells) float32."""

    hidden: jax.Array
    cell: jax.Array


class Lstm(nn.Module):
    """One LSTM layer: ``(streams, t, d) float32 -> (streams, t, cells)``."""

    cells: int

    @nn.compact
    def __call__(
        self, state: LstmState, x: jax.Array, inside: jax.Array | None = None
    ) -> tuple[LstmState, jax.Array]:
        """Run the layer over t ticks. Where ``inside`` (streams, t) is False the input gate is
        closed, so that a state of zeros stays zero before the sequence begins."""
        kernel = self.param(
            "input_kernel", nn.initializers.glorot_uniform(), (x.shape[-1], 4 * self.cells)
        )
        recurrent = self.param("recurrent_kernel", _orthogonal_gates, (self.cells, 4 * self.cells))
        bias = self.param("bias", _forget_gate_bias, (4 * self.cells,))
        projected = x @ kernel + bias
        if inside is not None:
            closed = jnp.where(inside[..., None], 0.0, -CLOSED_GATE)
            projected = projected.at[..., : self.cells].add(closed)
        (hidden, cell), out = lstm_scan(tuple(state), projected.swapaxes(0, 1), recurrent)
        return LstmState(hidden, cell), out.swapaxes(0, 1)


def _orthogonal_gates(key: jax.Array, shape: tuple[int, int]) -> jax.Array:
    keys = jax.random.split(key, 4)
    square = nn.initializers.orthogonal()
    return jnp.concatenate([square(k, (shape[0], shape[0])) for k in keys], axis=1)


def _forget_gate_bias(_key: jax.Array, shape: tuple[int]) -> jax.Array:
    """1 for the forget gate (Jozefowicz et al., ICML 2015), 0 for the others."""
    cells = shape[0] // 4
    return jnp.zeros(shape).at[cells : 2 * cells].set(1.0)
