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
    """``tails``: for each convolution, residual ones last, its past input (streams, frames,
    channels). ``background``: for each of the config's, the running mean (streams, bands)."""

    tails: tuple[jax.Array, ...]
    background: tuple[jax.Array, ...]


class Encoder(nn.Module):
    """The encoder as a Flax module; takes the parameters of the whole network."""

    config: ModelConfig

    @nn.compact
    def __call__(self, state: EncoderState, frames: jax.Array) -> tuple[EncoderState, jax.Array]:
        """``(streams, f, bands)`` to ``(streams, f / stride, width)``."""
        return encoder_layers(self.config, state, frames)


def encoder_layers(
    config: ModelConfig, state: EncoderState, frames: jax.Array
) -> tuple[EncoderState, jax.Array]:
    """Build the encoder's layers. Call it inside a compact module, which then owns them."""
    views, means, tails = [frames], [], []
    for constant, mean in zip(config.backgrounds, state.background, strict=True):
        mean, foreground = subtract_background(config, constant, mean, frames)
        views.append(foreground)
        means.append(mean)
    x = jnp.concatenate(views, axis=-1)
    for i, (channels, kernel, stride) in enumerate(config.conv):
        x = jnp.concatenate([state.tails[i], x], axis=1)
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
        extended = jnp.concatenate([state.tails[len(config.conv) + i], x], axis=1)
        tails.append(extended[:, extended.shape[1] - (kernel - 1) * dilation :])
        name = f"residual_{i}"
        conv = nn.Conv(x.shape[-1], (kernel,), kernel_dilation=dilation, padding="VALID", name=name)
        x = x + nn.relu(nn.LayerNorm(name=f"{name}_norm")(conv(extended)))
    return EncoderState(tuple(tails), tuple(means)), x


def encode(
    config: ModelConfig, params: Params, state: EncoderState, frames: jax.Array
) -> tuple[EncoderState, jax.Array]:
    """Run the encoder: ``(streams, f, bands) -> (streams, f // stride, width)``, f a multiple of
    ``config.stride``."""
    result: Any = Encoder(config).apply({"params": params}, state, frames)
    return result
