"""The verifier: log-mel frames of a window around a candidate to logits, in JAX.

It looks in both directions, so it needs the whole window. Training uses this version;
`streamdet.model.numpy_verifier` serves it.
"""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from streamdet.model.config import Params, VerifierConfig
from streamdet.model.lstm import Lstm, LstmState


class TapConv(nn.Module):
    """A convolution of ``(n, t, bands, channels)`` with odd kernels, padded to the same size.

    It is one matrix product over shifted copies. On CPUs its gradient takes half the time of that
    of XLA's convolution.
    """

    channels: int
    kernel: tuple[int, int]
    strides: tuple[int, int]

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Return ``(n, t / stride, bands / stride, channels)``."""
        (time, bands), (step, band_step) = self.kernel, self.strides
        shape = (time, bands, x.shape[-1], self.channels)
        kernel = self.param("kernel", nn.initializers.lecun_normal(), shape)
        bias = self.param("bias", nn.initializers.zeros, (self.channels,))
        ticks, positions = (x.shape[1] - 1) // step + 1, (x.shape[2] - 1) // band_step + 1
        x = jnp.pad(x, ((0, 0), (time // 2,) * 2, (bands // 2,) * 2, (0, 0)))
        last, top = (ticks - 1) * step + 1, (positions - 1) * band_step + 1
        taps = [
            x[:, at : at + last : step, band : band + top : band_step]
            for at in range(time)
            for band in range(bands)
        ]
        return jnp.concatenate(taps, axis=-1) @ kernel.reshape(-1, self.channels) + bias


class VerifierNetwork(nn.Module):
    """The verifier as a Flax module. Most callers use `apply` and `init_params`.

    With ``inside``, as it is served, the frames at both ends whose convolutions reach beyond them
    (`VerifierConfig.reach`) are left out after the convolutions.
    """

    config: VerifierConfig
    dropout: float = 0.0
    inside: bool = False

    @nn.compact
    def __call__(self, frames: jax.Array, *, train: bool = False) -> jax.Array:
        """``(windows, t, bands) float32`` log-mel frames to ``(windows, t / stride, labels)``."""
        config, x = self.config, frames[..., None]
        drop = nn.Dropout(self.dropout, broadcast_dims=(1,), deterministic=not train)
        for i, (channels, time, bands, step, band_step) in enumerate(config.conv):
            x = TapConv(channels, (time, bands), (step, band_step), name=f"conv_{i}")(x)
            x = nn.relu(nn.LayerNorm(name=f"norm_{i}")(x))
        x = drop(x.reshape(*x.shape[:2], -1))
        x = nn.relu(nn.LayerNorm(name="dense_norm")(nn.Dense(config.dense, name="dense")(x)))
        if self.inside:
            left, right = config.reach
            x = x[:, left : x.shape[1] - right]
        x, zeros = drop(x), jnp.zeros((x.shape[0], config.cells))
        start = LstmState(zeros, zeros)
        _, forward = Lstm(config.cells, name="forward")(start, x)
        _, backward = Lstm(config.cells, name="backward")(start, x[:, ::-1])
        x = drop(jnp.concatenate([forward, backward[:, ::-1]], axis=-1))
        return nn.Dense(len(config.labels), name="head")(x)


def init_params(config: VerifierConfig, key: jax.Array) -> Params:
    """Random initial parameters."""
    frames = jnp.zeros((1, config.window * config.stride, config.bands))
    variables: Any = jax.jit(VerifierNetwork(config).init)(key, frames)
    return variables["params"]


def apply(
    module: VerifierNetwork,
    params: Params,
    frames: jax.Array,
    dropout_key: jax.Array | None = None,
) -> jax.Array:
    """``(windows, t, bands)`` frames to ``(windows, t / stride, labels)`` logits; with
    ``dropout_key`` in training mode. t must be a multiple of the stride."""
    train = dropout_key is not None
    rngs = {"dropout": dropout_key} if train else {}
    result: Any = module.apply({"params": params}, frames, train=train, rngs=rngs)
    return result
