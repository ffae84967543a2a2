"""A synthetic muzzle blast, for the self-test, the demo and a small part of the training data.

The blast wave is Friedlander's (*Proc. R. Soc. A* 186, 1946): after the shock front the
overpressure is p(t) = P (1 - t / T) exp(-b t / T), where T is the length of the positive phase. A
ground reflection follows, then a decaying diffuse tail of echoes, both after Maher, *Modeling and
signal processing of acoustic gunshot recordings* (IEEE DSP 2006).
"""

from __future__ import annotations

import numpy as np

from streamdet.constants import RATE

_OVERSAMPLING = 8


def friedlander(positive_s: float, decay: float, length_s: float, rate: int) -> np.ndarray:
    """Return the Friedlander wave with a peak of 1, ``(round(length_s * rate),) float64``.

    ``positive_s`` is T in seconds, ``decay`` is b, ``rate`` is in Hz.
    """
    t = np.arange(round(length_s * rate)) / rate / positive_s
    return (1.0 - t) * np.exp(-decay * t)


def muzzle_blast(rng: np.random.Generator, length_s: float = 0.8) -> np.ndarray:
    """Return one blast as recorded by a microphone some tens of metres away.

    ``(round(length_s * 16000),) float32`` at 16 kHz, peak 1, with the shock front in the first
    millisecond. ``rng`` determines charge, height, ground and surroundings.
    """
    count = round(length_s * RATE)
    fine_rate = RATE * _OVERSAMPLING
    pulse = friedlander(rng.uniform(0.4e-3, 3e-3), rng.uniform(1.0, 2.5), 0.03, fine_rate)
    direct = pulse.reshape(-1, _OVERSAMPLING).mean(axis=1)
    out = np.zeros(count)
    out[: len(direct)] = direct
    delay = int(rng.uniform(1e-3, 12e-3) * RATE)
    out[delay : delay + len(direct)] += rng.uniform(0.3, 0.8) * direct
    t = np.arange(count) / RATE
    tail = rng.standard_normal(count) * np.exp(-t * 6.91 / rng.uniform(0.25, 0.9))
    tail = _low_pass(tail, rng.uniform(0.3, 0.75))
    attack = 1.0 - np.exp(-t / rng.uniform(1e-3, 8e-3))
    out += tail / np.max(np.abs(tail)) * attack * rng.uniform(0.15, 0.5)
    return (out / np.max(np.abs(out))).astype(np.float32)


def _low_pass(x: np.ndarray, pole: float) -> np.ndarray:
    """Apply a one-pole low-pass filter in the frequency domain."""
    spectrum = np.fft.rfft(x)
    z_inverse = np.exp(-1j * np.pi * np.arange(spectrum.size) / (spectrum.size - 1))
    return np.fft.irfft(spectrum * (1.0 - pole) / (1.0 - pole * z_inverse), len(x))
