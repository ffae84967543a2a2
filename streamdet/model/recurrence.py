"""The LSTM's recurrence over a block, with a custom backward pass.

Automatic differentiation of a scan accumulates the gradient of the recurrent kernel with one thin
product per tick. Here the backward scan carries only the gradient of the state, and the kernel's
gradient is one large product afterwards (backpropagation through time as in Greff et al., *LSTM: A
Search Space Odyssey*, 2017, appendix A). On two CPU cores a training step takes a quarter less
time. The forward pass is unchanged.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

State = tuple[jax.Array, jax.Array]


@jax.custom_vjp
def lstm_scan(state: State, projected: jax.Array, recurrent: jax.Array) -> tuple[State, jax.Array]:
    """Run t ticks.

    ``state``: (hidden, cell), both (streams, cells). ``projected``: (t, streams, 4 cells), the
    projected input of the gates (input, forget, candidate, output). ``recurrent``: (cells, 4
    cells). Returns the new state and the hidden values (t, streams, cells).
    """

    def tick(carry: State, gate_input: jax.Array) -> tuple[State, jax.Array]:
        hidden, cell, _ = _tick(carry, gate_input, recurrent)
        return (hidden, cell), hidden

    return jax.lax.scan(tick, state, projected)


def _tick(carry: State, gate_input: jax.Array, recurrent: jax.Array) -> tuple[Any, Any, Any]:
    hidden, cell = carry
    gates = gate_input + hidden @ recurrent
    enter, forget, candidate, leave = jnp.split(gates, 4, axis=-1)
    enter, forget, leave = jax.nn.sigmoid(enter), jax.nn.sigmoid(forget), jax.nn.sigmoid(leave)
    candidate = jnp.tanh(candidate)
    cell = forget * cell + enter * candidate
    return leave * jnp.tanh(cell), cell, (enter, forget, candidate, leave)


def _forward(state: State, projected: jax.Array, recurrent: jax.Array) -> tuple[Any, Any]:
    def tick(carry: State, gate_input: jax.Array) -> tuple[State, Any]:
        hidden, cell, gates = _tick(carry, gate_input, recurrent)
        return (hidden, cell), (hidden, cell, gates)

    last, (hidden, cells, gates) = jax.lax.scan(tick, state, projected)
    return (last, hidden), (state, hidden, cells, gates, recurrent)


def _backward(residuals: Any, gradient: Any) -> tuple[State, jax.Array, jax.Array]:
    (hidden_0, cell_0), hidden, cells, gates, recurrent = residuals
    last, d_hidden = gradient
    cells_before = jnp.concatenate([cell_0[None], cells[:-1]])
    transposed = recurrent.T

    def tick(carry: State, now: Any) -> tuple[State, jax.Array]:
        d_h, d_cell = carry
        d_out, cell, cell_before, (enter, forget, candidate, leave) = now
        tanh_cell, d_h = jnp.tanh(cell), d_h + d_out
        d_cell = d_cell + d_h * leave * (1.0 - tanh_cell**2)
        d_gates = jnp.concatenate(
            [
                d_cell * candidate * enter * (1.0 - enter),
                d_cell * cell_before * forget * (1.0 - forget),
                d_cell * enter * (1.0 - candidate**2),
                d_h * tanh_cell * leave * (1.0 - leave),
            ],
            axis=-1,
        )
        return (d_gates @ transposed, d_cell * forget), d_gates

    d_state, d_projected = jax.lax.scan(
        tick, last, (d_hidden, cells, cells_before, gates), reverse=True
    )
    hidden_before = jnp.concatenate([hidden_0[None], hidden[:-1]])
    d_recurrent = jnp.einsum("tsh,tsg->hg", hidden_before, d_projected)
    return d_state, d_projected, d_recurrent


lstm_scan.defvjp(_forward, _backward)
