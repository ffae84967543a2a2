"""Plots of sounds: log-mel spectrograms, alone and as a sheet of clips with their labels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from streamdet.constants import RATE
from streamdet.model import frontend
from streamdet.model.config import FrontendConfig
from train.data.shots import StrongLabels

RANGE_DB = 60


def plot_clip_sheet(
    sounds: Sequence[tuple[str, np.ndarray, StrongLabels]], to: Path, columns: int = 5
) -> None:
    """Write a sheet of ``(title, (n,) float32 samples, strong labels)`` to a png, svg or pdf
    file: spectrograms with the activity as a bar at the bottom and the onsets as lines, dotted
    where they are not reliable."""
    columns = min(columns, max(1, len(sounds)))
    rows = -(-len(sounds) // columns)
    figure = Figure(figsize=(3.4 * columns, 1.9 * rows), layout="constrained")
    axes = np.atleast_1d(figure.subplots(rows, columns, squeeze=False)).ravel()
    for axis in axes:
        axis.set_axis_off()
    for axis, (title, samples, labels) in zip(axes, sounds, strict=False):
        axis.set_axis_on()
        draw_spectrogram(axis, samples)
        times = np.arange(len(labels.active)) / 100
        axis.fill_between(times, 0, 3, where=labels.active, color="tab:orange")
        style = "-" if labels.reliable else ":"
        for onset in labels.onsets:
            axis.axvline(onset / 100, color="tab:red", linewidth=0.8, linestyle=style)
        axis.set_title(title, fontsize=6)
        axis.tick_params(labelsize=5)
    figure.savefig(to, dpi=110)


def draw_spectrogram(axis: Axes, samples: np.ndarray, start_s: float = 0.0) -> None:
    """Draw the detector's log-mel frames of ``(n,) float32`` samples at 16 kHz on an axis: bands
    from low to high, over 60 dB. ``start_s`` is the time of the first sample."""
    config = FrontendConfig()
    padded = jnp.asarray(np.pad(samples, (0, -len(samples) % config.hop))[None], jnp.float32)
    _, frames = frontend.step(config, frontend.init(config, 1), padded)
    db = np.asarray(frontend.log_power(config, frames))[0].T * (10.0 / np.log(10.0))
    peak = float(db.max())
    extent = (start_s, start_s + padded.shape[1] / RATE, 0, config.bands)
    axis.imshow(
        db,
        origin="lower",
        aspect="auto",
        extent=extent,
        cmap="magma",
        vmin=peak - RANGE_DB,
        vmax=peak,
    )
