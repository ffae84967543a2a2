"""The encoder: log-mel frames to features, by background subtraction and causal convolutions.

The second of the network's three stages, between the frontend and the recurrent head.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from streamdet.model.band_conv import BandConv, subtract_background
from streamdet.model.config import ModelConfig, Params


class EncoderState(NamedTuple):
    """``tails``: for each convolution, the residual ones last, the (streams, frames, channels)
    that it looks back on; ``background``: a running mean, (streams, bands), for each of the
    config's."""

    tails: tuple[jax.Array, ...]
    background: tuple[jax.Array, ...]


class Encoder(nn.Module):
    """The detector up to its LSTMs, with the same parameters."""

    config: ModelConfig

    @nn.compact
    def __call__(self, past: EncoderState, frames: jax.Array) -> tuple[EncoderState, jax.Array]:
        """``(streams, f, bands)`` to ``(streams, f / stride, width)``."""
        return encoder_layers(self.config, past, frames)


def encoder_layers(
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


def encode(
    config: ModelConfig, params: Params, past: EncoderState, frames: jax.Array
) -> tuple[EncoderState, jax.Array]:
    """The first part of `step`: ``(streams, f, bands) -> (streams, f // stride, width)``."""
    answer: Any = Encoder(config).apply({"params": params}, past, frames)
    return answer
