"""What happens to a sound between its source and the file: pure functions on arrays.

Every function takes ``(n,) float32`` samples at 16 kHz and a numpy Generator where it
draws, and returns new ``float32`` samples. Shots and hard negatives go through the same
ones, so that processing tells nothing of the class.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy.fft import next_fast_len

RATE = 16_000


def varispeed(x: np.ndarray, ratio: float) -> np.ndarray:
    """Play ``x`` at ``ratio`` times its speed: pitch and length change together."""
    count = max(1, int(len(x) / ratio))
    return np.interp(np.arange(count) * ratio, np.arange(len(x)), x).astype(np.float32)


def room_response(rng: np.random.Generator) -> np.ndarray:
    """A room's impulse response: the direct sound, then a decaying diffuse tail.

    The tail is Gaussian noise under an exponential with a reverberation time of 0.15 to
    1.5 s (Polack's statistical model, 1988), after a gap of 2 to 30 ms.
    """
    reverberation = rng.uniform(0.15, 1.5)
    length = int(min(1.0, reverberation) * RATE)
    t = np.arange(length) / RATE
    tail = rng.standard_normal(length) * np.exp(-6.91 * t / reverberation)
    gap = int(rng.uniform(0.002, 0.03) * RATE)
    tail[:gap] = 0.0
    ratio_db = rng.uniform(-4.0, 14.0)
    tail *= 10.0 ** (-ratio_db / 20.0) / np.sqrt(np.sum(tail**2) + 1e-12)
    tail[0] = 1.0
    return tail.astype(np.float32)


def outdoor_response(rng: np.random.Generator) -> np.ndarray:
    """Open ground: the direct sound, a ground reflection and up to six far, dull echoes."""
    response = np.zeros(int(0.9 * RATE), np.float32)
    response[0] = 1.0
    response[int(rng.uniform(0.0005, 0.01) * RATE)] += rng.uniform(-0.7, 0.7)
    for _ in range(rng.integers(0, 7)):
        at = int(rng.uniform(0.05, 0.85) * RATE)
        width = int(rng.integers(8, 200))
        echo = rng.standard_normal(width) * np.hanning(width)
        level = 10.0 ** (rng.uniform(-30.0, -6.0) / 20.0)
        stop = min(len(response), at + width)
        response[at:stop] += (level * echo / np.sqrt(np.sum(echo**2) + 1e-9))[: stop - at]
    return response


def distance_response(frequencies: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Magnitude of air and ground loss over a random distance: highs fall with f squared.

    The loss at 8 kHz is drawn up to 50 dB, about 500 m of air at 20 C and 50 % humidity by
    ISO 9613-1.
    """
    loss_db = rng.uniform(0.0, 50.0)
    return 10.0 ** (-loss_db * (frequencies / 8_000.0) ** 2 / 20.0)


def colour_response(frequencies: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Magnitude of a random smooth equaliser: six points over log frequency, +-6 dB."""
    points = np.log(np.array([30.0, 125.0, 500.0, 1_500.0, 4_000.0, 8_000.0]))
    gains = rng.uniform(-6.0, 6.0, points.size)
    return 10.0 ** (np.interp(np.log(frequencies + 1.0), points, gains) / 20.0)


def low_pass_response(frequencies: np.ndarray, corner: float, order: int = 8) -> np.ndarray:
    """Magnitude of a Butterworth low-pass."""
    return 1.0 / np.sqrt(1.0 + (frequencies / corner) ** (2 * order))


def high_pass_response(frequencies: np.ndarray, corner: float, order: int = 2) -> np.ndarray:
    """Magnitude of a Butterworth high-pass."""
    return 1.0 / np.sqrt(1.0 + (corner / np.maximum(frequencies, 1e-3)) ** (2 * order))


Magnitude = Callable[[np.ndarray], np.ndarray]


def through(
    x: np.ndarray, response: np.ndarray | None, magnitudes: Sequence[Magnitude]
) -> np.ndarray:
    """Convolve with an impulse response and apply magnitudes (functions of Hz), in one FFT."""
    length = len(x) + (len(response) - 1 if response is not None else 0)
    size = next_fast_len(length + 256, real=True)
    spectrum = np.fft.rfft(x, size)
    if response is not None:
        spectrum *= np.fft.rfft(response, size)
    frequencies = np.linspace(0.0, RATE / 2, spectrum.size, dtype=np.float32)
    for shape in magnitudes:
        spectrum *= shape(frequencies).astype(np.float32)
    return np.fft.irfft(spectrum, size)[:length].astype(np.float32)


def soft_limit(x: np.ndarray, drive_db: float) -> np.ndarray:
    """A limiter's saturation: tanh after ``drive_db`` of gain, the peak kept."""
    peak = float(np.max(np.abs(x))) + 1e-9
    drive = 10.0 ** (drive_db / 20.0)
    return (np.tanh(x / peak * drive) * peak / np.tanh(drive)).astype(np.float32)


def coloured_noise(count: int, rng: np.random.Generator) -> np.ndarray:
    """Noise between white and brown, unit RMS."""
    size = next_fast_len(count, real=True)
    spectrum = np.fft.rfft(rng.standard_normal(size, dtype=np.float32))
    slope = rng.uniform(0.0, 1.0)
    spectrum *= (np.arange(spectrum.size, dtype=np.float32) + 8.0) ** -slope
    noise = np.fft.irfft(spectrum, size)[:count]
    return (noise / (np.sqrt(np.mean(noise**2)) + 1e-12)).astype(np.float32)
