"""Convolutions of the two taggers. Activations are (batch, time, frequency, channels)."""

from __future__ import annotations

import jax
import jax.numpy as jnp

Padding = tuple[tuple[int, int], tuple[int, int]]


def convolve_depthwise(x: jax.Array, kernel: jax.Array, stride: int, padding: Padding) -> jax.Array:
    """A convolution of each channel with its own kernel (time, frequency, 1, channels).

    An input of one channel is convolved with all kernels. The stride is that of both axes. A sum of
    shifted products, which XLA fuses: its grouped convolution takes 10 to 80 times as long on CPUs.
    """
    x = jnp.pad(x, ((0, 0), *padding, (0, 0)))
    high, wide = kernel.shape[:2]
    rows = stride * ((x.shape[1] - high) // stride) + 1
    columns = stride * ((x.shape[2] - wide) // stride) + 1
    terms = [
        x[:, i : i + rows : stride, j : j + columns : stride] * kernel[i, j, 0]
        for i in range(high)
        for j in range(wide)
    ]
    total = terms[0]
    for term in terms[1:]:
        total += term
    return total
