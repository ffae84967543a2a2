"""Synthetic impulse responses of rooms, open ground and streets.

Each is ``(n,) float32`` at 16 kHz; its direct sound is 1 at sample 0. `make_response_bank` makes a
fixed set once, because a room takes milliseconds.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from streamdet.constants import RATE

SOUND_SPEED_M_S = 343.0


def make_room_response(rng: np.random.Generator) -> np.ndarray:
    """Make the response of a shoebox room: early reflections, then a diffuse tail.

    The early reflections are image sources of up to the third order (Allen & Berkley, *JASA*
    65(4), 1979). The tail is Gaussian noise that decays exponentially (Polack, 1988) with the
    reverberation time that Sabine's formula gives for the room's absorption.
    """
    size = np.array([rng.uniform(2.5, 25.0), rng.uniform(2.0, 15.0), rng.uniform(2.2, 8.0)])
    absorption = rng.uniform(0.06, 0.6)
    reflection = np.sqrt(1.0 - absorption)
    source, microphone = (rng.uniform(0.1, 0.9, 3) * size for _ in range(2))
    grid = np.stack(np.meshgrid(*(np.arange(-2, 3),) * 3, indexing="ij"), -1).reshape(-1, 3)
    signs = np.stack(np.meshgrid(*(np.array([0, 1]),) * 3, indexing="ij"), -1).reshape(-1, 3)
    image = (1 - 2 * signs)[None] * source + 2 * grid[:, None] * size
    bounces = np.abs(grid[:, None] - signs[None]).sum(-1) + np.abs(grid).sum(-1)[:, None]
    distance = np.linalg.norm(image - microphone, axis=-1)
    near = bounces <= 3
    distance, gain = distance[near], reflection ** bounces[near]
    direct = distance.min()
    late_ms = float(np.clip(2e3 * np.cbrt(size.prod()) / SOUND_SPEED_M_S, 10.0, 60.0))
    volume, walls = size.prod(), 2 * (size[0] * size[1] + size[1] * size[2] + size[0] * size[2])
    reverberation = float(np.clip(0.161 * volume / (absorption * walls), 0.1, 3.0))
    length = int(min(1.2, reverberation) * RATE) + 1
    response = np.zeros(length, np.float32)
    arrival = ((distance - direct) / SOUND_SPEED_M_S * RATE).astype(int)
    inside = arrival < length
    np.add.at(response, arrival[inside], (gain * direct / distance)[inside])
    t = np.arange(length) / RATE
    tail = rng.standard_normal(length) * np.exp(-6.91 * t / reverberation)
    tail[: int(late_ms / 1e3 * RATE)] = 0.0
    ratio_db = rng.uniform(-2.0, 14.0)
    tail *= 10.0 ** (-ratio_db / 20.0) / np.sqrt(np.sum(tail**2) + 1e-12)
    response += tail.astype(np.float32)
    return response / response[0]


def make_open_ground_response(rng: np.random.Generator) -> np.ndarray:
    """Make the response of open ground: a ground reflection and up to six far, dull echoes."""
    response = np.zeros(int(0.9 * RATE), np.float32)
    response[0] = 1.0
    response[int(rng.uniform(0.0005, 0.01) * RATE)] += rng.uniform(-0.7, 0.7)
    _add_echoes(response, rng, int(rng.integers(0, 7)), (0.05, 0.85), (-30.0, -6.0))
    return response


def make_street_response(rng: np.random.Generator) -> np.ndarray:
    """Make the response of a street: 12 to 40 echoes between facades, falling 20 to 60 dB/s."""
    response = np.zeros(int(1.2 * RATE), np.float32)
    response[0] = 1.0
    _add_echoes(response, rng, int(rng.integers(12, 41)), (0.01, 1.15), (-20.0, -4.0))
    t = np.arange(len(response)) / RATE
    return (response * 10.0 ** (-rng.uniform(20.0, 60.0) * t / 20.0)).astype(np.float32)


def _add_echoes(
    response: np.ndarray,
    rng: np.random.Generator,
    count: int,
    span_s: tuple[float, float],
    level_db: tuple[float, float],
) -> None:
    for _ in range(count):
        start = int(rng.uniform(*span_s) * RATE)
        width = int(rng.integers(8, 200))
        echo = rng.standard_normal(width) * np.hanning(width)
        level = 10.0 ** (rng.uniform(*level_db) / 20.0)
        stop = min(len(response), start + width)
        response[start:stop] += (level * echo / np.sqrt(np.sum(echo**2) + 1e-9))[: stop - start]


@cache
def make_response_bank(kind: str, count: int = 192) -> tuple[np.ndarray, ...]:
    """Make ``count`` responses of a kind, "room", "open_ground" or "street"; always the same."""
    make = {
        "room": make_room_response,
        "open_ground": make_open_ground_response,
        "street": make_street_response,
    }[kind]
    return tuple(make(np.random.default_rng([11, i])) for i in range(count))
