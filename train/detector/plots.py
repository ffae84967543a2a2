"""Pictures of clips: waveform, spectrogram, and where the strong labels say a shot is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import jax.numpy as jnp
import numpy as np

from streamdet.constants import RATE
from streamdet.model import frontend
from streamdet.model.config import FrontendConfig
from train.data.shots import StrongLabels


def clips(
    sounds: Sequence[tuple[str, np.ndarray, StrongLabels]], to: Path, columns: int = 5
) -> None:
    """Write a sheet of ``(title, (n,) float32 samples, strong labels)`` to ``to`` (png, svg or
    pdf): log-mel over time, activity as a bar along the bottom, onsets as lines, dotted where
    they are not sure."""
    from matplotlib.figure import Figure

    columns = min(columns, max(1, len(sounds)))
    rows = -(-len(sounds) // columns)
    figure = Figure(figsize=(3.4 * columns, 1.9 * rows), layout="constrained")
    axes = np.atleast_1d(figure.subplots(rows, columns, squeeze=False)).ravel()
    for axis in axes:
        axis.set_axis_off()
    for axis, (title, samples, found) in zip(axes, sounds, strict=False):
        axis.set_axis_on()
        spectrogram(axis, samples)
        axis.fill_between(
            np.arange(len(found.active)) / 100, 0, 3, where=found.active, color="tab:orange"
        )
        for onset in found.onsets:
            axis.axvline(
                onset / 100,
                color="tab:red",
                linewidth=0.8,
                linestyle="-" if found.reliable else ":",
            )
        axis.set_title(title, fontsize=6)
        axis.tick_params(labelsize=5)
    figure.savefig(to, dpi=110)


def spectrogram(axis, samples: np.ndarray, start_s: float = 0.0) -> None:
    """Draw the detector's own log-mel frames of ``(n,) float32`` samples on an axis, bands
    from low to high, 60 dB of range."""
    config = FrontendConfig()
    whole = jnp.asarray(np.pad(samples, (0, -len(samples) % config.hop))[None], jnp.float32)
    _, frames = frontend.step(config, frontend.init(config, 1), whole)
    db = np.asarray(frontend.log_power(config, frames))[0].T * (10.0 / np.log(10.0))
    top = float(db.max())
    extent = (start_s, start_s + whole.shape[1] / RATE, 0, config.bands)
    axis.imshow(
        db, origin="lower", aspect="auto", extent=extent, cmap="magma", vmin=top - 60, vmax=top
    )
