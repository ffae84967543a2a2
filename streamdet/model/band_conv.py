"""The encoder's first layer: background subtraction, and kernels that slide over the bands."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp

from streamdet.model.config import ModelConfig
from streamdet.model.filters import background_weights


def subtract_background(
    config: ModelConfig, constant: int, background: jax.Array, frames: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Subtract a running mean from each band, so that steady sound becomes zero.

    The mean is exponential over ``constant`` frames and is updated once per stride, so any
    chunking gives the same result. This is per-channel energy normalisation (Wang et al., ICASSP
    2017) in the log domain. ``background``: (streams, bands), the mean so far. ``frames``:
    (streams, f, bands). Returns the mean after the frames, and the frames minus the mean before
    their stride.
    """
    streams, count, bands = frames.shape
    ticks = count // config.stride
    strides = frames.reshape(streams, ticks, config.stride, bands)
    mix, faded = (
        jnp.asarray(x, frames.dtype) for x in background_weights(constant, config.stride, ticks)
    )
    levels = faded[:, None] * background[:, None]
    levels += jnp.einsum("tj,sjb->stb", mix, strides.mean(axis=2))
    foreground = strides - levels[:, :-1, None]
    return levels[:, -1], foreground.reshape(frames.shape)


class BandConv(nn.Module):
    """A convolution over time and bands, with one kernel for all positions over the bands.

    ``patch``: (bands, step) of the kernel. ``(streams, t, views * bands) -> (streams, ticks,
    positions * channels)``. Positions overlap, so the bands are cut into groups of one step. Each
    group is multiplied once by every part of the kernel that covers it, and each position sums the
    parts of its groups: one matrix product, with half the copying of a window per position.
    """

    channels: int
    kernel: int
    stride: int
    patch: tuple[int, int]
    views: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Run over ``t`` frames, including the past frames that the kernel needs."""
        height, step = self.patch
        shape = (self.kernel, self.views * height, self.channels)
        kernel = self.param("kernel", nn.initializers.lecun_normal(), shape)
        bias = self.param("bias", nn.initializers.zeros, (self.channels,))
        streams, count, bands = *x.shape[:2], x.shape[2] // self.views
        positions, parts = (bands - height) // step + 1, -(-height // step)
        groups = positions + parts - 1
        x = x.reshape(streams, count, self.views, bands)[..., : groups * step]
        x = jnp.pad(x, ((0, 0),) * 3 + ((0, groups * step - x.shape[3]),))
        x = x.reshape(streams, count, self.views, groups, step).swapaxes(2, 3)
        x = x.reshape(streams, count, groups, self.views * step)
        ticks = (count - self.kernel) // self.stride + 1
        last = (ticks - 1) * self.stride + 1
        taps = [x[:, at : at + last : self.stride] for at in range(self.kernel)]
        weights = kernel.reshape(self.kernel, self.views, height, self.channels)
        weights = jnp.pad(weights, ((0, 0), (0, 0), (0, parts * step - height), (0, 0)))
        weights = weights.reshape(self.kernel, self.views, parts, step, self.channels).swapaxes(
            2, 3
        )
        products = jnp.concatenate(taps, axis=-1) @ weights.reshape(-1, parts * self.channels)
        products = products.reshape(streams, ticks, groups, parts, self.channels)
        out = sum(
            (products[:, :, k : k + positions, k] for k in range(1, parts)),
            products[:, :, :positions, 0],
        )
        return (out + bias).reshape(streams, ticks, positions * self.channels)
