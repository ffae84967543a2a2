"""Effects between a sound's source and its recording: pure functions on arrays.

Every function takes ``(n,) float32`` samples at 16 kHz, and a numpy Generator if it is random,
and returns new ``float32`` samples. Shots and hard negatives go through the same effects, so that
the processing does not reveal the class.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np
from scipy.fft import irfft, next_fast_len, rfft
from scipy.signal import lfilter

from streamdet.constants import RATE

HOP = 160
"""Samples in 10 ms."""
NOISE_COLOURS = 16


def change_speed(x: np.ndarray, ratio: float) -> np.ndarray:
    """Play ``x`` at ``ratio`` times its speed; pitch and length change together."""
    count = max(1, int(len(x) / ratio))
    return np.interp(np.arange(count) * ratio, np.arange(len(x)), x).astype(np.float32)


def draw_distance_response(frequencies: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw the magnitude response of air and ground over a random distance.

    The loss grows with the square of the frequency, up to 50 dB at 8 kHz: about 500 m of air at
    20 C and 50 % humidity (ISO 9613-1).
    """
    loss_db = rng.uniform(0.0, 50.0)
    return 10.0 ** (-loss_db * (frequencies / 8_000.0) ** 2 / 20.0)


def draw_colour_response(frequencies: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw the magnitude response of a smooth equaliser: six points over log frequency, +-8 dB."""
    points = np.array([3.4, 4.83, 6.21, 7.31, 8.29, 8.99])
    gains = rng.uniform(-8.0, 8.0, points.size)
    return 10.0 ** (np.interp(np.log(frequencies + 1.0), points, gains) / 20.0)


def compute_low_pass(frequencies: np.ndarray, corner: float, order: int = 8) -> np.ndarray:
    """Compute the magnitude response of a Butterworth low-pass."""
    return 1.0 / np.sqrt(1.0 + (frequencies / corner) ** (2 * order))


def compute_high_pass(frequencies: np.ndarray, corner: float, order: int = 2) -> np.ndarray:
    """Compute the magnitude response of a Butterworth high-pass."""
    return 1.0 / np.sqrt(1.0 + (corner / np.maximum(frequencies, 1e-3)) ** (2 * order))


MagnitudeResponse = Callable[[np.ndarray], np.ndarray]
"""Maps frequencies in Hz to magnitudes."""


def apply_filters(
    x: np.ndarray, response: np.ndarray | None, magnitudes: Sequence[MagnitudeResponse]
) -> np.ndarray:
    """Convolve with an impulse response and apply magnitude responses, in one FFT.

    The magnitudes are smooth: they are computed at 513 points and interpolated. The result is
    ``len(response) - 1`` samples longer than ``x``.
    """
    length = len(x) + (len(response) - 1 if response is not None else 0)
    size = next_fast_len(length + 256, real=True)
    spectrum: Any = rfft(x, size)
    if response is not None:
        spectrum *= rfft(response, size)
    if magnitudes:
        coarse = np.linspace(0.0, RATE / 2, 513)
        shape = np.prod([m(coarse) for m in magnitudes], axis=0)
        fine = np.interp(np.linspace(0.0, RATE / 2, spectrum.size), coarse, shape)
        spectrum *= fine.astype(np.float32)
    whole: Any = irfft(spectrum, size)
    return whole[:length].astype(np.float32, copy=False)


def average_two_microphones(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Average a sound with itself 0.06 to 3 ms later, up to 3 dB lower: a comb filter."""
    delay = int(rng.integers(1, 49))
    later = np.concatenate([np.zeros(delay, np.float32), x[:-delay]])
    return 0.5 * (x + later * np.float32(10.0 ** (rng.uniform(-3.0, 0.0) / 20.0)))


def apply_limiter(x: np.ndarray, drive_db: float) -> np.ndarray:
    """Saturate like a limiter: tanh after ``drive_db`` of gain, the peak unchanged."""
    peak = float(np.max(np.abs(x))) + 1e-9
    drive = 10.0 ** (drive_db / 20.0)
    return (np.tanh(x / peak * drive) * peak / np.tanh(drive)).astype(np.float32)


def apply_gain_control(x: np.ndarray, target_db: float, release_s: float) -> np.ndarray:
    """Apply an automatic gain control with a time constant of ``release_s`` seconds.

    It moves the level three quarters of the way to ``target_db`` re full scale, by at most 30 dB
    up or down. It follows the past level only, so a loud onset overshoots before the gain falls,
    as in a recorder.
    """
    frames = np.pad(x, (0, -len(x) % HOP)).reshape(-1, HOP)
    level = 10.0 * np.log10(np.mean(frames**2, axis=1) + 1e-10)
    decay = float(np.exp(-0.01 / release_s))
    followed, _ = lfilter([1.0 - decay], [1.0, -decay], level, zi=[decay * level[0]])
    gain_db = np.clip(0.75 * (target_db - followed), -30.0, 30.0)
    starts = np.arange(len(gain_db)) * HOP
    gain = np.interp(np.arange(len(x)), starts + HOP, gain_db)
    return (x * 10.0 ** (gain / 20.0)).astype(np.float32)


def insert_dropouts(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Insert one to three stretches of digital silence of 20 ms to 1 s, with hard edges."""
    x = x.copy()
    for _ in range(rng.integers(1, 4)):
        start = int(rng.integers(0, len(x)))
        x[start : start + int(np.exp(rng.uniform(np.log(0.02), 0.0)) * RATE)] = 0.0
    return x


def draw_coloured_noise(count: int, rng: np.random.Generator) -> np.ndarray:
    """Draw noise between white and brown, of about unit RMS, from a bank of sixteen colours."""
    bank = _make_noise_bank()
    noise = bank[rng.integers(len(bank))]
    return np.take(noise, np.arange(count) + rng.integers(noise.size), mode="wrap")


@cache
def _make_noise_bank() -> np.ndarray:
    rng, size = np.random.default_rng(1), 20 * RATE
    bank = np.empty((NOISE_COLOURS, size), np.float32)
    for row, slope in zip(bank, np.linspace(0.0, 1.0, len(bank)), strict=True):
        spectrum: Any = rfft(rng.standard_normal(size, dtype=np.float32))
        spectrum *= (np.arange(spectrum.size, dtype=np.float32) + 8.0) ** -slope
        colour: Any = irfft(spectrum, size)
        row[:] = colour
        row /= np.sqrt(np.mean(row**2))
    return bank
