"""Synthesise strikes on objects: sounds as sudden as a shot, in more variety than recordings.

It is modal synthesis (van den Doel & Pai, *The Sounds of Physical Shapes*, Presence 7(4), 1998):
the struck object rings in damped sinusoids, excited for as long as the contact lasts. A short
burst of band-passed noise is the contact itself and, alone, a clap.
"""

from __future__ import annotations

import numpy as np
from scipy.signal import butter, sosfilt

from streamdet.constants import RATE

HIGHEST_HZ = 7_600.0


def synthesise_strike(rng: np.random.Generator) -> np.ndarray:
    """Synthesise one strike on wood, metal, glass or skin, or a clap.

    Returns ``(n,) float32`` with a peak of 1, at most 1 s long, its onset in the first 10 ms.
    """
    count = int(rng.uniform(0.15, 1.0) * RATE)
    contact = _make_contact_noise(count, rng)
    if rng.random() < 0.2:
        return _normalise(contact)
    share = 10.0 ** (rng.uniform(-30.0, 0.0) / 20.0)
    return _normalise(_normalise(_ring_modes(count, rng)) + share * _normalise(contact))


def _ring_modes(count: int, rng: np.random.Generator) -> np.ndarray:
    lowest = np.exp(rng.uniform(np.log(60.0), np.log(2_500.0)))
    number = int(rng.integers(2, 20))
    if rng.random() < 0.3:
        ratios = np.arange(1, number + 1) * (1.0 + rng.normal(0.0, 0.01, number))
    else:
        ratios = np.cumsum(np.append(1.0, rng.uniform(0.1, 1.5, number - 1)))
    hz = lowest * ratios
    hz = hz[(hz > 20.0) & (hz < HIGHEST_HZ)]
    longest_s = np.exp(rng.uniform(np.log(0.04), np.log(1.5)))
    decay_s = longest_s * (hz[0] / hz) ** rng.uniform(0.0, 1.2)
    level = rng.normal(size=len(hz)) * np.arange(1, len(hz) + 1.0) ** -rng.uniform(0.0, 1.5)
    pulse_s = rng.uniform(0.0, 3e-3)
    level /= 1.0 + (hz * pulse_s) ** 2
    t = np.arange(count) / RATE
    partials = np.sin(2.0 * np.pi * hz[:, None] * t)
    return np.sum(level[:, None] * partials * np.exp(-6.91 * t / decay_s[:, None]), axis=0)


def _make_contact_noise(count: int, rng: np.random.Generator) -> np.ndarray:
    t = np.arange(count) / RATE
    centre = np.exp(rng.uniform(np.log(500.0), np.log(4_500.0)))
    edges = centre * 2.0 ** (np.array([-0.5, 0.5]) * rng.uniform(0.4, 1.6))
    band = butter(2, np.minimum(edges, HIGHEST_HZ), "bandpass", fs=RATE, output="sos")
    noise = rng.standard_normal(count) * np.exp(-t / rng.uniform(1e-3, 0.02))
    return np.asarray(sosfilt(band, noise))


def _normalise(x: np.ndarray) -> np.ndarray:
    return (x / (np.max(np.abs(x)) + 1e-9)).astype(np.float32)
