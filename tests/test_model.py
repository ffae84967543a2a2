"""The network: its shapes, its state, its causality."""

from dataclasses import replace
from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamdet.model import network
from streamdet.model.band_conv import subtract_background
from streamdet.model.config import ModelConfig, param_shapes
from streamdet.model.recurrence import lstm_scan

SMALL = ModelConfig(bands=8, conv=((6, 5, 2), (8, 3, 2)), cells=(8, 8), labels=("gunshot", "drum"))
PATCHED = replace(SMALL, patch=(4, 2), residual=((3, 1), (3, 4)), norm_cells=True)
TWICE, PATCHED_TWICE = (replace(c, backgrounds=(50, 200)) for c in (SMALL, PATCHED))


@cache
def reference(config):
    """The parameters of a network, and its step, compiled once for each block length."""
    return network.init_params(config, jax.random.key(0)), jax.jit(partial(network.step, config))


@pytest.fixture(scope="module")
def params():
    return reference(SMALL)[0]


@pytest.mark.parametrize(
    "config",
    [SMALL, PATCHED, TWICE, PATCHED_TWICE, ModelConfig(labels=("a",)), ModelConfig(cells=(9,))],
)
def test_the_named_shapes_are_those_of_the_network(config):
    params = jax.eval_shape(partial(network.init_params, config), jax.random.key(1))
    shapes = {f"{a}/{b}": x.shape for a, layer in params.items() for b, x in layer.items()}
    assert shapes == param_shapes(config)


@given(
    cuts=st.lists(st.sampled_from([1, 3]), min_size=1, max_size=4),
    config=st.sampled_from([SMALL, PATCHED_TWICE]),
)
@settings(max_examples=25, deadline=None)
def test_any_number_of_strides_a_block_gives_the_same_logits(cuts, config):
    params, step = reference(config)
    frames = np.random.default_rng(0).normal(size=(2, 4 * 12, 8)).astype("f")
    _, whole = step(params, network.init_state(config, 2), frames)
    state, parts, at = network.init_state(config, 2), [], 0
    for cut in cuts:
        state, logits = step(params, state, frames[:, at : at + 4 * cut])
        parts.append(logits)
        at += 4 * cut
    assert whole.shape == (2, 12, 2)
    np.testing.assert_allclose(np.concatenate(parts, axis=1), whole[:, : sum(cuts)], atol=1e-5)


def test_steady_sound_disappears_with_its_background():
    config = replace(SMALL, backgrounds=(50, 200))
    level = np.random.default_rng(0).normal(size=(2, 1, 8)).astype("f")
    frames = np.repeat(level, 400, axis=1)
    frames[:, 360:] += 2.0
    mean, foreground = subtract_background(config, 50, np.zeros((2, 8), "f"), frames)
    np.testing.assert_allclose(foreground[:, 356], 0.0, atol=5e-3)
    np.testing.assert_allclose(foreground[:, 360], 2.0, atol=5e-3)
    assert (np.asarray(mean) > level[:, 0]).all()


def test_the_custom_gradient_equals_the_automatic_one():
    """Compared with the same recurrence as a Python loop."""
    rng = np.random.default_rng(0)
    state = tuple(rng.normal(size=(3, 5)).astype("f") for _ in range(2))
    projected = rng.normal(size=(7, 3, 20)).astype("f")
    kernel = rng.normal(size=(5, 20)).astype("f")

    def python_loop(state, projected, kernel):
        out = []
        for gate_input in projected:
            enter, forget, new, leave = jnp.split(gate_input + state[0] @ kernel, 4, axis=-1)
            cell = jax.nn.sigmoid(forget) * state[1] + jax.nn.sigmoid(enter) * jnp.tanh(new)
            state = (jax.nn.sigmoid(leave) * jnp.tanh(cell), cell)
            out.append(state[0])
        return state, jnp.stack(out)

    def total(recur):
        def of(*arguments):
            (hidden, cell), out = recur(*arguments)
            return jnp.sum(out**2) + jnp.sum(hidden) + jnp.sum(cell**3)

        return jax.grad(of, argnums=(0, 1, 2))(state, projected, kernel)

    for ours, theirs in zip(
        jax.tree.leaves(total(lstm_scan)), jax.tree.leaves(total(python_loop)), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)


def test_the_future_never_changes_the_past(params):
    frames = np.random.default_rng(0).normal(size=(1, 40, 8)).astype("f")
    other = frames.copy()
    other[:, 20:] += 1.0
    start = network.init_state(SMALL, 1)
    step = reference(SMALL)[1]
    _, one = step(params, start, frames)
    _, two = step(params, start, other)
    np.testing.assert_array_equal(one[:, :5], two[:, :5])
    assert np.abs(np.asarray(one[:, 5:] - two[:, 5:])).max() > 0


def test_streams_of_a_batch_do_not_touch_each_other(params):
    frames = np.random.default_rng(1).normal(size=(3, 16, 8)).astype("f")
    step = reference(SMALL)[1]
    _, together = step(params, network.init_state(SMALL, 3), frames)
    for i in range(3):
        _, alone = step(params, network.init_state(SMALL, 1), frames[i : i + 1])
        np.testing.assert_allclose(together[i], alone[0], atol=1e-5)


def test_a_block_must_be_a_multiple_of_the_stride(params):
    with pytest.raises(ValueError, match="multiple of 4"):
        network.step(SMALL, params, network.init_state(SMALL, 1), np.zeros((1, 6, 8), np.float32))
