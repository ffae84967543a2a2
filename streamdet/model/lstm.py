"""The detector: two causal convolutions, two LSTMs, one linear head a frame.

``step(config, params, state, frames) -> (state, logits)``: ``(streams, f, bands) float32``
log-mel frames in, ``(streams, f / stride, labels) float32`` logits out, ``f`` a multiple of
``config.stride``. Nothing looks ahead; all memory is in the state, so a stream may be fed
in blocks of any number of strides with the same results.

LSTM: Hochreiter & Schmidhuber, *Neural Computation* 9(8), 1997, with the forget gate of
Gers et al., 2000. The input products of a whole block are one matrix product; only the
recurrent product stays in the scan.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from streamdet.model.band_conv import BandConv, subtract_background
from streamdet.model.config import ModelConfig, Params
from streamdet.model.recurrence import lstm_scan


class LstmState(NamedTuple):
    """``hidden`` and ``cell``: (streams, cells) float32."""

    hidden: jax.Array
    cell: jax.Array


class EncoderState(NamedTuple):
    """``tails``: for each convolution, the residual ones last, the (streams, frames, channels)
    that it looks back on; ``background``: a running mean, (streams, bands), for each of the
    config's."""

    tails: tuple[jax.Array, ...]
    background: tuple[jax.Array, ...]


class NetworkState(NamedTuple):
    """All that a stream remembers: ``past`` of the layers up to the LSTMs, ``lstm`` a state for
    each of them."""

    encoder: EncoderState
    head: tuple[LstmState, ...]


CLOSED_GATE = 1e9
"""Less than a gate's log-odds by so much, it is closed."""


class Lstm(nn.Module):
    """One LSTM layer: ``(streams, t, d) float32 -> (streams, t, cells)``, state carried."""

    cells: int

    @nn.compact
    def __call__(
        self, state: LstmState, x: jax.Array, inside: jax.Array | None = None
    ) -> tuple[LstmState, jax.Array]:
        """Run the layer over t ticks; nothing enters where ``inside`` (streams, t) is False, so
        that a state of zeros stays one before a stream begins."""
        kernel = self.param(
            "input_kernel", nn.initializers.glorot_uniform(), (x.shape[-1], 4 * self.cells)
        )
        recurrent = self.param("recurrent_kernel", _orthogonal_gates, (self.cells, 4 * self.cells))
        bias = self.param("bias", _remembering_bias, (4 * self.cells,))
        driven = x @ kernel + bias
        if inside is not None:
            shut = jnp.where(inside[..., None], 0.0, -CLOSED_GATE)
            driven = driven.at[..., : self.cells].add(shut)
        (hidden, cell), out = lstm_scan(tuple(state), driven.swapaxes(0, 1), recurrent)
        return LstmState(hidden, cell), out.swapaxes(0, 1)


def _orthogonal_gates(key: jax.Array, shape: tuple[int, int]) -> jax.Array:
    keys = jax.random.split(key, 4)
    square = nn.initializers.orthogonal()
    return jnp.concatenate([square(k, (shape[0], shape[0])) for k in keys], axis=1)


def _remembering_bias(_key: jax.Array, shape: tuple[int]) -> jax.Array:
    """Zeros, but 1 for the forget gate (Jozefowicz et al., ICML 2015)."""
    cells = shape[0] // 4
    return jnp.zeros(shape).at[cells : 2 * cells].set(1.0)


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
        past, x = _encode(self.config, state.encoder, frames)
        drop = nn.Dropout(self.dropout, broadcast_dims=(1,), deterministic=not train)
        lstm, logits = _run_head(self.config, state.head, x, drop)
        return NetworkState(past, lstm), logits


class Encoder(nn.Module):
    """The detector up to its LSTMs, with the same parameters."""

    config: ModelConfig

    @nn.compact
    def __call__(self, past: EncoderState, frames: jax.Array) -> tuple[EncoderState, jax.Array]:
        """``(streams, f, bands)`` to ``(streams, f / stride, width)``."""
        return _encode(self.config, past, frames)


class RecurrentHead(nn.Module):
    """The detector from its LSTMs on, with the same parameters."""

    config: ModelConfig

    @nn.compact
    def __call__(
        self, state: tuple[LstmState, ...], x: jax.Array
    ) -> tuple[tuple[LstmState, ...], jax.Array]:
        """``(streams, t, width)`` to ``(streams, t, labels)`` logits."""
        return _run_head(self.config, state, x, lambda x: x)


def _encode(
    config: ModelConfig, past: EncoderState, frames: jax.Array
) -> tuple[EncoderState, jax.Array]:
    """Backgrounds and convolutions; inside a compact module, whose layers they become."""
    views, means, tails = [frames], [], []
    for constant, mean in zip(config.backgrounds, past.background, strict=True):
        mean, over = subtract_background(config, constant, mean, frames)
        views.append(over)
        means.append(mean)
    x = jnp.concatenate(views, axis=-1)
    for i, (channels, kernel, stride) in enumerate(config.conv):
        x = jnp.concatenate([past.tails[i], x], axis=1)
        tails.append(x[:, x.shape[1] - (kernel - stride) :])
        if i == 0 and config.patch is not None:
            conv: nn.Module = BandConv(
                channels, kernel, stride, config.patch, config.views, name="conv_0"
            )
        else:
            conv = nn.Conv(channels, (kernel,), (stride,), padding="VALID", name=f"conv_{i}")
        x = conv(x)
        x = nn.relu(nn.LayerNorm(name=f"norm_{i}")(x) if config.norm else x)
    for i, (kernel, dilation) in enumerate(config.residual):
        known = jnp.concatenate([past.tails[len(config.conv) + i], x], axis=1)
        tails.append(known[:, known.shape[1] - (kernel - 1) * dilation :])
        name = f"residual_{i}"
        conv = nn.Conv(x.shape[-1], (kernel,), kernel_dilation=dilation, padding="VALID", name=name)
        x = x + nn.relu(nn.LayerNorm(name=f"{name}_norm")(conv(known)))
    return EncoderState(tuple(tails), tuple(means)), x


def _run_head(
    config: ModelConfig,
    state: tuple[LstmState, ...],
    x: jax.Array,
    drop: Callable[[jax.Array], jax.Array],
) -> tuple[tuple[LstmState, ...], jax.Array]:
    """LSTMs and head; inside a compact module, whose layers they become."""
    states = []
    for i, cells in enumerate(config.cells):
        x = drop(x)
        heard = nn.LayerNorm(name=f"lstm_{i}_norm")(x) if config.norm_cells else x
        carried, hidden = Lstm(cells, name=f"lstm_{i}")(state[i], heard)
        x = x + hidden if x.shape[-1] == cells else hidden
        states.append(carried)
    return tuple(states), nn.Dense(len(config.labels), name="head")(drop(x))


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


def encode(
    config: ModelConfig, params: Params, past: EncoderState, frames: jax.Array
) -> tuple[EncoderState, jax.Array]:
    """The first part of `step`: ``(streams, f, bands) -> (streams, f // stride, width)``."""
    answer: Any = Encoder(config).apply({"params": params}, past, frames)
    return answer


def run_head(
    config: ModelConfig, params: Params, state: tuple[LstmState, ...], x: jax.Array
) -> tuple[tuple[LstmState, ...], jax.Array]:
    """The second part of `step`: what `hear` gives to ``(streams, t, labels)`` logits."""
    answer: Any = RecurrentHead(config).apply({"params": params}, state, x)
    return answer


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
