"""Log-mel spectrograms for display, small enough to store with every event."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np
import soxr
from numpy.lib.stride_tricks import sliding_window_view

from streamdet.model.config import FrontendConfig
from streamdet.model.filters import hann, mel_matrix

BANDS = 64
HOP_S = 0.02
FLOOR_DB, RANGE_DB = -100.0, 90.0
_FRONT = FrontendConfig(bands=BANDS, hop=320)


@dataclass(frozen=True)
class Spectrogram:
    """``levels``: (frames, bands) uint8, from 0 for FLOOR_DB (relative to a full-scale sine) or
    less to 255 for RANGE_DB above that. ``onset_s``: the event's onset, in seconds after the first
    frame. ``hop_s``: seconds between frames."""

    levels: np.ndarray
    onset_s: float
    hop_s: float = HOP_S

    @property
    def bands(self) -> int:
        """Number of mel bands, from 60 to 7,800 Hz."""
        return self.levels.shape[1]

    def pack(self) -> bytes:
        """The levels, compressed for the store."""
        return zlib.compress(np.ascontiguousarray(self.levels).tobytes())

    @staticmethod
    def unpack(packed: bytes, onset_s: float, hop_s: float, bands: int) -> Spectrogram:
        """The inverse of `pack`."""
        levels = np.frombuffer(zlib.decompress(packed), np.uint8).reshape(-1, bands)
        return Spectrogram(levels, onset_s, hop_s)


def compute_spectrogram(samples: np.ndarray, rate: int, onset_s: float) -> Spectrogram:
    """The spectrogram of ``(n,) float32`` samples at ``rate`` Hz. ``onset_s``: the event's onset
    in seconds of the samples."""
    return Spectrogram(spectrogram_levels(samples, rate), onset_s)


def spectrogram_levels(samples: np.ndarray, rate: int) -> np.ndarray:
    """``(n,) float32`` samples at ``rate`` Hz to ``(frames, BANDS) uint8`` levels, one frame per
    HOP_S."""
    front = _FRONT
    if rate != front.sample_rate:
        samples = soxr.resample(samples, rate, front.sample_rate, quality="MQ")
    if len(samples) < front.window:
        return np.zeros((0, BANDS), np.uint8)
    frames = sliding_window_view(samples, front.window)[:: front.hop] * hann(front.window)
    spectrum = np.fft.rfft(frames, front.n_fft).astype(np.complex64)
    power = (np.abs(spectrum) * (2.0 / hann(front.window).sum())) ** 2 @ mel_matrix(front)
    db = 10.0 * np.log10(power + 1e-12)
    return ((db - FLOOR_DB) * (255.0 / RANGE_DB)).clip(0, 255).astype(np.uint8)
