"""The demo recording for `make demo`: synthetic muzzle blasts over a synthetic evening.

``scene.flac`` is the output of `scene` in 16 bits. A test compares the two.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from streamdet.constants import RATE
from streamdet.synth import muzzle_blast

PATH = Path(__file__).with_name("scene.flac")
LENGTH_S = 20.0
ONSETS_S = (4.2, 9.5, 15.25)
ROUNDS = (1, 3, 1)
"""Two single shots, with a burst of three between them, 0.25 s apart."""


def scene() -> np.ndarray:
    """Return 20 s at 16 kHz, ``(n,) float32``.

    Wind, mains hum, a distant cricket and three events, with fades of one second at both ends.
    """
    rng = np.random.default_rng(2047)
    count = round(LENGTH_S * RATE)
    t = np.arange(count) / RATE
    out = 0.006 * _wind(count, rng) * (1.0 + 0.5 * np.sin(2 * np.pi * 0.13 * t))
    out += 0.001 * np.sin(2 * np.pi * 50.0 * t)
    chirping = (np.sin(2 * np.pi * 2.3 * t) > 0.7) * (np.sin(2 * np.pi * 31.0 * t) > 0.0)
    out += 0.0015 * chirping * np.sin(2 * np.pi * 4_300.0 * t)
    for onset_s, rounds in zip(ONSETS_S, ROUNDS, strict=True):
        blast = muzzle_blast(rng)
        for i in range(rounds):
            start = round((onset_s + 0.25 * i) * RATE)
            out[start : start + len(blast)] += rng.uniform(0.3, 0.4) * blast
    return (out * np.minimum(1.0, np.minimum(t, t[::-1]))).astype(np.float32)


def _wind(count: int, rng: np.random.Generator) -> np.ndarray:
    """Return noise of unit RMS whose power falls with frequency."""
    spectrum = np.fft.rfft(rng.standard_normal(count))
    spectrum *= 1.0 / np.sqrt(np.arange(spectrum.size) + 20.0)
    noise = np.fft.irfft(spectrum, count)
    return noise / np.sqrt(np.mean(noise**2))
