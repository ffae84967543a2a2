"""Prepare a single sound for a scene: cut it, repeat it, and put it in a place.

Shots and hard negatives go through every step with the same probabilities, so that the processing
does not reveal the class. The one exception is `make_machinery`, a hammering that no gun makes,
which is for negatives only.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from streamdet.constants import RATE
from train.data import effects, spaces
from train.data.config import MixConfig
from train.data.effects import HOP
from train.data.shots import DROP_DB, compute_level_db

LONGEST_S = 5.0


class SceneSound(NamedTuple):
    """A sound ready to be placed in a scene.

    ``samples`` is (n,) float32. ``active`` (bool) and ``onsets`` are in 10 ms frames. ``teacher``
    (windows, classes) holds the teacher's scores of the clip, from the sound's start on.
    ``reliable`` is False if the onsets are not known.
    """

    samples: np.ndarray
    active: np.ndarray
    onsets: np.ndarray
    teacher: np.ndarray
    reliable: bool


def cut_excerpt(
    x: np.ndarray, onsets: np.ndarray, rng: np.random.Generator, *, first: bool = False
) -> tuple[np.ndarray, np.ndarray, int]:
    """Cut at most 5 s around one of a clip's onsets; return it, its onsets and its start sample.

    With ``first`` it is the first onset, so that the excerpt does not begin in another's tail.
    """
    if len(x) <= LONGEST_S * RATE:
        return x, onsets, 0
    onset = int(onsets[0] if first else rng.choice(onsets))
    start = max(0, onset * HOP - int(rng.integers(0, RATE)))
    x = x[start : start + int(LONGEST_S * RATE)]
    onsets = onsets - start // HOP
    return x, onsets[(onsets >= 0) & (onsets < len(x) // HOP)], start


def cut_single_rise(
    x: np.ndarray, onsets: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, int]:
    """Cut one onset and 0.08 to 0.8 s after it out of a longer sound.

    Returns the cut, its onset (10 ms frames) and its start sample.
    """
    onset = int(rng.choice(onsets))
    start = max(0, onset * HOP - RATE // 50)
    piece = x[start : start + int(rng.uniform(0.08, 0.8) * RATE)].copy()
    rise, fall = min(80, len(piece)), int(0.4 * len(piece))
    piece[:rise] *= np.linspace(0.0, 1.0, rise, dtype=np.float32)
    piece[len(piece) - fall :] *= np.linspace(1.0, 0.0, fall, dtype=np.float32)
    return piece, np.array([onset - start // HOP]), start


def layer_sounds(one: SceneSound, other: SceneSound, rng: np.random.Generator) -> SceneSound:
    """Add two sounds, their first onsets up to 30 ms apart, the second up to 12 dB lower."""
    delay = int(one.onsets[0] - other.onsets[0] + rng.integers(0, 4))
    second = other.samples[max(0, -delay) * HOP :]
    lead = max(0, delay) * HOP
    x = np.zeros(max(len(one.samples), lead + len(second)), np.float32)
    x[: len(one.samples)] = one.samples
    gain = np.abs(one.samples).max() / (np.abs(second).max(initial=0.0) + 1e-9)
    x[lead : lead + len(second)] += second * np.float32(gain * 10.0 ** rng.uniform(-0.6, 0.0))
    active = find_activity(x)
    onsets = np.unique(np.concatenate([one.onsets, other.onsets + delay]))
    return one._replace(
        samples=x, active=active, onsets=onsets[(onsets >= 0) & (onsets < len(active))]
    )


def splice_tail(
    x: np.ndarray, onset: int, other: np.ndarray, other_onset: int, rng: np.random.Generator
) -> np.ndarray:
    """Replace a sound's tail by that of another, as if it had sounded in the other's surroundings.

    The tails are exchanged 15 to 120 ms after both onsets, at about the same level. Onsets are in
    10 ms frames. Returns ``x`` itself if one of the sounds is too short.
    """
    delay = int(rng.uniform(0.015, 0.12) * RATE)
    end, start = onset * HOP + delay, other_onset * HOP + delay
    if end + 2 * HOP > len(x) or start + 2 * HOP > len(other):
        return x
    tail = other[start:] * np.float32(10.0 ** (rng.uniform(-6.0, 6.0) / 20.0))
    rms, other_rms = (float(np.sqrt(np.mean(y[: 2 * HOP] ** 2))) for y in (x[end:], other[start:]))
    tail *= np.float32(min(rms / (other_rms + 1e-6), 30.0))
    ramp = np.linspace(0.0, 1.0, HOP, dtype=np.float32)
    tail[:HOP] = tail[:HOP] * ramp + x[end : end + HOP] * ramp[::-1]
    return np.concatenate([x[:end], tail])


def shorten_decay(x: np.ndarray, onset: int, rng: np.random.Generator) -> np.ndarray:
    """Let a sound decay up to 100 dB per second faster after its onset (a 10 ms frame)."""
    fall_db = rng.uniform(0.0, 100.0) * np.arange(len(x) - onset * HOP) / RATE
    x = x.copy()
    x[onset * HOP :] *= (10.0 ** (-fall_db / 20.0)).astype(np.float32)
    return x


def fade_ends(x: np.ndarray) -> np.ndarray:
    """Fade 50 ms at both ends, in place; for clips cut out of longer noise."""
    ramp = np.linspace(0.0, 1.0, min(800, len(x) // 4), dtype=np.float32)
    x[: len(ramp)] *= ramp
    x[len(x) - len(ramp) :] *= ramp[::-1]
    return x


def process_sound(
    cfg: MixConfig, x: np.ndarray, onsets: np.ndarray, rng: np.random.Generator, *, repeat: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Change speed, repetition, place, distance and colour; return the samples and their onsets."""
    if rng.random() < cfg.varispeed:
        ratio = float(np.exp(rng.uniform(-0.35, 0.35)))
        x, onsets = effects.change_speed(x, ratio), (onsets / ratio).astype(int)
    if repeat and len(onsets) == 1 and len(x) < 2 * RATE and rng.random() < cfg.burst:
        x, onsets = repeat_sound(x, int(onsets[0]), rng)
    response, magnitudes = None, []
    place = rng.random()
    for kind, odds in (("room", cfg.room), ("open_ground", cfg.outdoor), ("street", cfg.street)):
        if place < odds:
            bank = spaces.make_response_bank(kind)
            response = bank[rng.integers(len(bank))]
            break
        place -= odds
    if rng.random() < cfg.distance:
        magnitudes.append(lambda f: effects.draw_distance_response(f, rng))
    if rng.random() < cfg.colour:
        magnitudes.append(lambda f: effects.draw_colour_response(f, rng))
    if response is not None or magnitudes:
        x = effects.apply_filters(x, response, magnitudes)
    return x, onsets


def find_activity(x: np.ndarray) -> np.ndarray:
    """Mark the 10 ms frames within 25 dB of the loudest (the benchmark's rule): (frames,) bool."""
    level = compute_level_db(x)
    return level > level.max() - DROP_DB


def repeat_sound(
    x: np.ndarray, onset: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Repeat a sound, each time a little quieter or louder; return the samples and the onsets.

    It becomes aimed fire (steady, 60 to 500 ms apart), automatic fire (480 to 1,080 rounds per
    minute) or a volley (at random, overlapping).
    """
    draw = rng.random()
    count = int(rng.integers(2, 13))
    if draw < 0.4:
        gaps = rng.uniform(0.06, 0.5) + rng.uniform(-0.02, 0.02, count - 1)
        spread_db = 2.0
    elif draw < 0.7:
        count = int(rng.integers(3, 31))
        gaps = np.full(count - 1, 1.0 / rng.uniform(8.0, 18.0))
        spread_db = 2.0
    else:
        gaps = rng.exponential(rng.uniform(0.1, 0.6), count - 1)
        spread_db = 14.0
    gaps = np.maximum(3, np.round(gaps * 100)).astype(int)
    starts = np.concatenate([[0], np.cumsum(gaps)])
    starts = starts[starts < 350]
    return _overlay_copies(x, starts, spread_db, rng), starts + onset


def make_machinery(
    x: np.ndarray, onset: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Make a hammering of one knock, like that of jackhammers, drills and engines.

    It repeats the first 25 to 90 ms of ``x`` 9 to 35 times per second for 0.5 to 4 s. Returns the
    samples and the onsets.
    """
    length = int(rng.uniform(0.025, 0.09) * RATE)
    knock = x[max(0, onset * HOP - 80) :][:length].copy()
    knock *= np.linspace(1.0, 0.0, len(knock), dtype=np.float32) ** 0.5
    period = 1.0 / rng.uniform(9.0, 35.0)
    count = int(rng.uniform(0.5, 4.0) / period)
    times = np.cumsum(period * (1.0 + rng.normal(0.0, 0.04, count)))
    starts = np.unique(np.round((times - times[0]) * 100).astype(int))
    return _overlay_copies(knock, starts, 3.0, rng), starts


def _overlay_copies(
    x: np.ndarray, starts: np.ndarray, spread_db: float, rng: np.random.Generator
) -> np.ndarray:
    out = np.zeros(int(starts[-1]) * HOP + len(x), np.float32)
    for start in starts:
        gain = np.float32(10.0 ** (-rng.uniform(0.0, spread_db) / 20.0))
        out[start * HOP : start * HOP + len(x)] += x * gain
    return out
