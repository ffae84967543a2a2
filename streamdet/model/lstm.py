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

from dataclasses import dataclass
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from streamdet.model.recurrence import recur

Params = dict[str, Any]


@dataclass(frozen=True)
class ModelConfig:
    """The shape of the network; every field is part of a bundle's card.

    ``conv`` holds (channels, kernel, stride) for each convolution over time, ``cells`` the
    width of each LSTM; ``norm`` puts a layer normalisation (Ba et al., 2016) behind each
    convolution. ``patch`` (bands, stride) makes the first convolution slide over the bands
    too: one kernel for all pitches, its channels at every position laid end to end.
    ``residual`` (kernel, dilation) are causal convolutions that keep the width and are added
    to what they hear; ``norm_cells`` normalises before each LSTM. ``backgrounds`` are the time
    constants, in frames, of running means of each band: for each the bands are heard once more
    less that mean, as far as they stand out.
    """

    bands: int = 64
    conv: tuple[tuple[int, int, int], ...] = ((96, 5, 2), (128, 5, 2))
    cells: tuple[int, ...] = (128, 128)
    norm: bool = True
    patch: tuple[int, int] | None = None
    residual: tuple[tuple[int, int], ...] = ()
    norm_cells: bool = False
    backgrounds: tuple[int, ...] = ()
    labels: tuple[str, ...] = ("gunshot",)

    @property
    def stride(self) -> int:
        """Log-mel frames for each frame of probabilities."""
        product = 1
        for _, _, stride in self.conv:
            product *= stride
        return product

    @property
    def positions(self) -> int:
        """Places over the bands of the first convolution: 1 where it spans them all."""
        return 1 if self.patch is None else (self.bands - self.patch[0]) // self.patch[1] + 1

    @property
    def views(self) -> int:
        """How often the bands are heard side by side."""
        return 1 + len(self.backgrounds)

    def widths(self) -> list[int]:
        """The features of a frame that each convolution gives."""
        places = [self.positions] + [1] * (len(self.conv) - 1)
        return [layer[0] * p for layer, p in zip(self.conv, places, strict=True)]


class LstmState(NamedTuple):
    """``hidden`` and ``cell``: (streams, cells) float32."""

    hidden: jax.Array
    cell: jax.Array


class ModelState(NamedTuple):
    """``tails``: for each convolution, the residual ones last, the (streams, frames, channels)
    that it looks back on; ``lstm``: a state for each LSTM; ``background``: a running
    mean, (streams, bands), for each of the config's."""

    tails: tuple[jax.Array, ...]
    lstm: tuple[LstmState, ...]
    background: tuple[jax.Array, ...]


SHUT = 1e9
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
            shut = jnp.where(inside[..., None], 0.0, -SHUT)
            driven = driven.at[..., : self.cells].add(shut)
        (hidden, cell), out = recur(tuple(state), driven.swapaxes(0, 1), recurrent)
        return LstmState(hidden, cell), out.swapaxes(0, 1)


def above_background(
    config: ModelConfig, constant: int, background: jax.Array, frames: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """The running mean ``(streams, bands)`` after ``(streams, f, bands)`` frames, and the frames
    less what it was before their own stride: an exponential mean over ``constant`` frames in steps
    of a stride, so any blocks give the same. Steady sound of any colour and level becomes zero;
    the idea of per-channel energy normalisation (Wang et al., ICASSP 2017) in the log domain.
    """
    streams, count, bands = frames.shape
    ticks = count // config.stride
    strides = frames.reshape(streams, ticks, config.stride, bands)
    keep = np.exp(-config.stride / constant)
    age = np.arange(ticks + 1)[:, None] - 1 - np.arange(ticks)
    mix = np.where(age >= 0, (1.0 - keep) * keep ** np.maximum(age, 0), 0.0).astype(np.float32)
    faded = (keep ** np.arange(ticks + 1)).astype(np.float32)[:, None] * background[:, None]
    levels = faded + jnp.einsum("tj,sjb->stb", mix, strides.mean(axis=2))
    over = strides - levels[:, :-1, None]
    return levels[:, -1], over.reshape(frames.shape)


def _over_bands(conv: nn.Conv, patch: tuple[int, int], x: jax.Array, views: int) -> jax.Array:
    """A convolution over time and bands: ``(streams, t, views * bands) -> (streams, ticks,
    positions * channels)``. Each position is a stream of its own to ``conv``, which is several
    times faster on a CPU than a two-dimensional convolution."""
    high, step = patch
    bands = x.shape[2] // views
    x = x.reshape(*x.shape[:2], views, bands)
    places = range(0, bands - high + 1, step)
    strips = jnp.stack([x[..., at : at + high] for at in places], axis=1)
    out = conv(strips.reshape(-1, x.shape[1], views * high))
    out = out.reshape(x.shape[0], len(places), -1, out.shape[-1])
    return out.swapaxes(1, 2).reshape(x.shape[0], out.shape[2], -1)


def _orthogonal_gates(key: jax.Array, shape: tuple[int, int]) -> jax.Array:
    keys = jax.random.split(key, 4)
    square = nn.initializers.orthogonal()
    return jnp.concatenate([square(k, (shape[0], shape[0])) for k in keys], axis=1)


def _remembering_bias(_key: jax.Array, shape: tuple[int]) -> jax.Array:
    """Zeros, but 1 for the forget gate (Jozefowicz et al., ICML 2015)."""
    cells = shape[0] // 4
    return jnp.zeros(shape).at[cells : 2 * cells].set(1.0)


class Detector(nn.Module):
    """The network as a Flax module; `step` and `init_params` are its usual doors."""

    config: ModelConfig
    dropout: float = 0.0

    @nn.compact
    def __call__(
        self, state: ModelState, frames: jax.Array, *, train: bool = False
    ) -> tuple[ModelState, jax.Array]:
        """Logits of the frames; ``train`` switches dropout on, one mask for a whole block (Gal
        & Ghahramani, *Dropout in Recurrent Neural Networks*, 2016)."""
        views, means, tails = [frames], [], []
        for constant, mean in zip(self.config.backgrounds, state.background, strict=True):
            mean, over = above_background(self.config, constant, mean, frames)
            views.append(over)
            means.append(mean)
        x = jnp.concatenate(views, axis=-1)
        for i, (channels, kernel, stride) in enumerate(self.config.conv):
            x = jnp.concatenate([state.tails[i], x], axis=1)
            tails.append(x[:, x.shape[1] - (kernel - stride) :])
            conv = nn.Conv(channels, (kernel,), (stride,), padding="VALID", name=f"conv_{i}")
            patch = self.config.patch if i == 0 else None
            x = conv(x) if patch is None else _over_bands(conv, patch, x, self.config.views)
            x = nn.relu(nn.LayerNorm(name=f"norm_{i}")(x) if self.config.norm else x)
        for i, (kernel, dilation) in enumerate(self.config.residual):
            past = jnp.concatenate([state.tails[len(self.config.conv) + i], x], axis=1)
            tails.append(past[:, past.shape[1] - (kernel - 1) * dilation :])
            name = f"residual_{i}"
            conv = nn.Conv(
                x.shape[-1], (kernel,), kernel_dilation=dilation, padding="VALID", name=name
            )
            x = x + nn.relu(nn.LayerNorm(name=f"{name}_norm")(conv(past)))
        states = []
        for i, cells in enumerate(self.config.cells):
            x = nn.Dropout(self.dropout, broadcast_dims=(1,), deterministic=not train)(x)
            heard = nn.LayerNorm(name=f"lstm_{i}_norm")(x) if self.config.norm_cells else x
            carried, hidden = Lstm(cells, name=f"lstm_{i}")(state.lstm[i], heard)
            x = x + hidden if x.shape[-1] == cells else hidden
            states.append(carried)
        x = nn.Dropout(self.dropout, broadcast_dims=(1,), deterministic=not train)(x)
        logits = nn.Dense(len(self.config.labels), name="head")(x)
        return ModelState(tuple(tails), tuple(states), tuple(means)), logits


def layers(config: ModelConfig) -> list[list[str]]:
    """The names of its layers from the input on, those that belong together in one list."""
    conv = [[f"conv_{i}", *([f"norm_{i}"] if config.norm else [])] for i in range(len(config.conv))]
    residual = [[f"residual_{i}", f"residual_{i}_norm"] for i in range(len(config.residual))]
    norm = "lstm_{}_norm" if config.norm_cells else None
    lstms = [[f"lstm_{i}", *([norm.format(i)] if norm else [])] for i in range(len(config.cells))]
    return [*conv, *residual, *lstms, ["head"]]


def init_state(config: ModelConfig, streams: int) -> ModelState:
    """The state of ``streams`` streams that have heard nothing: all zeros."""
    tails, channels = [], config.bands * config.views
    for (_, kernel, stride), width in zip(config.conv, config.widths(), strict=True):
        tails.append(jnp.zeros((streams, kernel - stride, channels), jnp.float32))
        channels = width
    for kernel, dilation in config.residual:
        tails.append(jnp.zeros((streams, (kernel - 1) * dilation, channels), jnp.float32))
    lstm = tuple(LstmState(*(jnp.zeros((streams, c), jnp.float32),) * 2) for c in config.cells)
    means = tuple(jnp.zeros((streams, config.bands), jnp.float32) for _ in config.backgrounds)
    return ModelState(tuple(tails), lstm, means)


def init_params(config: ModelConfig, key: jax.Array) -> Params:
    """Fresh parameters, a nested dict of float32 arrays."""
    frames = jnp.zeros((1, config.stride, config.bands), jnp.float32)
    variables: Any = Detector(config).init(key, init_state(config, 1), frames)
    return variables["params"]


def step(
    config: ModelConfig, params: Params, state: ModelState, frames: jax.Array
) -> tuple[ModelState, jax.Array]:
    """``(streams, f, bands) -> (streams, f // stride, labels)`` logits, state carried.

    Raises ValueError, at trace time, where ``f`` is not a multiple of ``config.stride``.
    """
    if frames.shape[1] % config.stride:
        raise ValueError(f"{frames.shape[1]} frames are not a multiple of {config.stride}")
    return apply(Detector(config), params, state, frames)


def apply(
    module: Detector,
    params: Params,
    state: ModelState,
    frames: jax.Array,
    dropout_key: jax.Array | None = None,
) -> tuple[ModelState, jax.Array]:
    """`step` of a module; with a key for its dropout, as training runs it."""
    train = dropout_key is not None
    rngs = {"dropout": dropout_key} if train else {}
    answer: Any = module.apply({"params": params}, state, frames, train=train, rngs=rngs)
    return answer


def param_shapes(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """The name and shape of every tensor of this network, ``layer/tensor`` by name."""
    shapes: dict[str, tuple[int, ...]] = {}
    width = config.bands * config.views
    for i, ((channels, kernel, _), out) in enumerate(
        zip(config.conv, config.widths(), strict=True)
    ):
        patch = config.patch if i == 0 else None
        wide = width if patch is None else patch[0] * config.views
        shapes[f"conv_{i}/kernel"] = (kernel, wide, channels)
        shapes[f"conv_{i}/bias"] = (channels,)
        if config.norm:
            shapes[f"norm_{i}/scale"] = shapes[f"norm_{i}/bias"] = (out,)
        width = out
    for i, (kernel, _) in enumerate(config.residual):
        shapes[f"residual_{i}/kernel"] = (kernel, width, width)
        for tensor in (f"residual_{i}/bias", f"residual_{i}_norm/scale", f"residual_{i}_norm/bias"):
            shapes[tensor] = (width,)
    for i, cells in enumerate(config.cells):
        if config.norm_cells:
            shapes[f"lstm_{i}_norm/scale"] = shapes[f"lstm_{i}_norm/bias"] = (width,)
        shapes[f"lstm_{i}/input_kernel"] = (width, 4 * cells)
        shapes[f"lstm_{i}/recurrent_kernel"] = (cells, 4 * cells)
        shapes[f"lstm_{i}/bias"] = (4 * cells,)
        width = cells
    shapes["head/kernel"] = (width, len(config.labels))
    shapes["head/bias"] = (len(config.labels),)
    return shapes
