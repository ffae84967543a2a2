"""What hears the bands first: their backgrounds, and kernels that slide over them."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp

from streamdet.model.config import ModelConfig
from streamdet.model.filters import background_weights


def subtract_background(
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
    mix, faded = (
        jnp.asarray(x, frames.dtype) for x in background_weights(constant, config.stride, ticks)
    )
    levels = faded[:, None] * background[:, None]
    levels += jnp.einsum("tj,sjb->stb", mix, strides.mean(axis=2))
    over = strides - levels[:, :-1, None]
    return levels[:, -1], over.reshape(frames.shape)


class BandConv(nn.Module):
    """A convolution over time and bands, ``patch`` (bands, step): ``(streams, t, views * bands) ->
    (streams, ticks, positions * channels)``, one kernel for every position.

    Positions overlap, so the bands are cut into groups of a step: each group is multiplied once
    by all parts of the kernel that ever cover it, and a position adds up the parts of its groups.
    That is one matrix product, with a half of the gathering that a window for each position needs.
    """

    channels: int
    kernel: int
    stride: int
    patch: tuple[int, int]
    views: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Run over ``t`` frames, the past ones that it looks back on included."""
        high, step = self.patch
        shape = (self.kernel, self.views * high, self.channels)
        kernel = self.param("kernel", nn.initializers.lecun_normal(), shape)
        bias = self.param("bias", nn.initializers.zeros, (self.channels,))
        streams, count, bands = *x.shape[:2], x.shape[2] // self.views
        positions, parts = (bands - high) // step + 1, -(-high // step)
        groups = positions + parts - 1
        x = x.reshape(streams, count, self.views, bands)[..., : groups * step]
        x = jnp.pad(x, ((0, 0),) * 3 + ((0, groups * step - x.shape[3]),))
        x = x.reshape(streams, count, self.views, groups, step).swapaxes(2, 3)
        x = x.reshape(streams, count, groups, self.views * step)
        ticks = (count - self.kernel) // self.stride + 1
        last = (ticks - 1) * self.stride + 1
        taps = [x[:, at : at + last : self.stride] for at in range(self.kernel)]
        cut = kernel.reshape(self.kernel, self.views, high, self.channels)
        cut = jnp.pad(cut, ((0, 0), (0, 0), (0, parts * step - high), (0, 0)))
        cut = cut.reshape(self.kernel, self.views, parts, step, self.channels).swapaxes(2, 3)
        shares = jnp.concatenate(taps, axis=-1) @ cut.reshape(-1, parts * self.channels)
        shares = shares.reshape(streams, ticks, groups, parts, self.channels)
        out = sum(
            (shares[:, :, k : k + positions, k] for k in range(1, parts)),
            shares[:, :, :positions, 0],
        )
        return (out + bias).reshape(streams, ticks, positions * self.channels)
