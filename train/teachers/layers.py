"""Convolutions of the two taggers. Activations are (batch, time, frequency, channels)."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax

Padding = tuple[tuple[int, int], tuple[int, int]]


def convolve(x: jax.Array, kernel: jax.Array, stride: int, padding: Padding) -> jax.Array:
    """A convolution with a kernel (time, frequency, in, out) and the same stride on both axes."""
    return lax.conv_general_dilated(
        x, kernel, (stride, stride), padding, dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def convolve_depthwise(x: jax.Array, kernel: jax.Array, stride: int, padding: Padding) -> jax.Array:
    """A convolution of each channel with its own kernel (time, frequency, 1, channels).

    A sum of shifted products, which XLA fuses: on CPUs its grouped convolution is slower.
    """
    x = jnp.pad(x, ((0, 0), *padding, (0, 0)))
    high, wide = kernel.shape[:2]
    rows = (x.shape[1] - high) // stride + 1
    columns = (x.shape[2] - wide) // stride + 1
    return sum(
        x[:, i : i + stride * (rows - 1) + 1 : stride, j : j + stride * (columns - 1) + 1 : stride]
        * kernel[i, j, 0]
        for i in range(high)
        for j in range(wide)
    )
