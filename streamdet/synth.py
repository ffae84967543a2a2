"""A muzzle blast from the textbook, for the self-test, the demo and a little of training.

The blast wave is Friedlander's (*Proc. R. Soc. A* 186, 1946): after the shock front the
overpressure is p(t) = P (1 - t / T) exp(-b t / T), T the length of the positive phase. A
reflection from the ground follows, then a decaying diffuse tail of echoes, both after
Maher, *Modeling and signal processing of acoustic gunshot recordings* (IEEE DSP 2006).
"""

from __future__ import annotations

import numpy as np

from streamdet.constants import RATE

_OVERSAMPLING = 8


def friedlander(positive_s: float, decay: float, length_s: float, rate: int) -> np.ndarray:
    """The Friedlander wave with a peak of 1, ``(round(length_s * rate),) float64``."""
    t = np.arange(round(length_s * rate)) / rate / positive_s
    return (1.0 - t) * np.exp(-decay * t)


def muzzle_blast(rng: np.random.Generator, length_s: float = 0.8) -> np.ndarray:
    """One blast as a microphone some tens of metres away hears it.

    ``(round(length_s * 16000),) float32`` at 16 kHz, peak 1, the shock front in the first
    millisecond. What varies (charge, height, ground, surroundings) is drawn from ``rng``.
    """
    count = round(length_s * RATE)
    fine = RATE * _OVERSAMPLING
    pulse = friedlander(rng.uniform(0.4e-3, 3e-3), rng.uniform(1.0, 2.5), 0.03, fine)
    direct = pulse.reshape(-1, _OVERSAMPLING).mean(axis=1)
    out = np.zeros(count)
    out[: len(direct)] = direct
    late = int(rng.uniform(1e-3, 12e-3) * RATE)
    out[late : late + len(direct)] += rng.uniform(0.3, 0.8) * direct
    t = np.arange(count) / RATE
    tail = rng.standard_normal(count) * np.exp(-t * 6.91 / rng.uniform(0.25, 0.9))
    tail = _dulled(tail, rng.uniform(0.3, 0.75))
    build = 1.0 - np.exp(-t / rng.uniform(1e-3, 8e-3))
    out += tail / np.max(np.abs(tail)) * build * rng.uniform(0.15, 0.5)
    return (out / np.max(np.abs(out))).astype(np.float32)


def _dulled(x: np.ndarray, pole: float) -> np.ndarray:
    """A one-pole low-pass, as a product in the frequency domain."""
    spectrum = np.fft.rfft(x)
    turn = np.exp(-1j * np.pi * np.arange(spectrum.size) / (spectrum.size - 1))
    return np.fft.irfft(spectrum * (1.0 - pole) / (1.0 - pole * turn), len(x))
