"""Augmentation of log-mel frames, so that no batch is the same twice."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from train.detector.config import FramesConfig

WIDEST_MASK = 12
"""Bands."""
GAIN_DB = 6.0
POINTS = 6
"""Points of the equaliser's curve over the bands."""
FLOOR_MARGIN = 0.05


def recolour_frames(config: FramesConfig, frames: jax.Array, key: jax.Array) -> jax.Array:
    """Apply a random smooth equaliser and gain to each stream, and mask some bands of some
    streams (SpecAugment, Park et al., 2019): (streams, frames, bands) float32 to the same.
    ``config.recolour_db`` and ``config.band_mask`` set how much; 0 leaves the frames as they
    are."""
    shape_key, gain_key, mask_key = jax.random.split(key, 3)
    streams, limit = frames.shape[0], config.recolour_db
    floor = (np.log(config.frontend.floor) - config.frontend.mean) / config.frontend.scale
    if limit:
        curve = jax.random.uniform(shape_key, (streams, POINTS), minval=-limit, maxval=limit)
        curve += jax.random.uniform(gain_key, (streams, 1), minval=-GAIN_DB, maxval=GAIN_DB)
        positions = jnp.linspace(0.0, POINTS - 1.0, config.frontend.bands)
        db = jax.vmap(lambda c: jnp.interp(positions, jnp.arange(float(POINTS)), c))(curve)
        coloured = frames + db[:, None] * (np.log(10.0) / 10.0 / config.frontend.scale)
        above_floor = frames > floor + FLOOR_MARGIN
        frames = jnp.where(above_floor, jnp.maximum(coloured, floor), frames)
    if config.band_mask:
        draw, first, width = jax.random.uniform(mask_key, (3, streams, 1))
        first, width = first * config.frontend.bands, width * WIDEST_MASK
        band = jnp.arange(config.frontend.bands)
        masked = (draw < config.band_mask) & (band >= first) & (band < first + width)
        frames = jnp.where(masked[:, None], floor, frames)
    return frames
