"""Hours of the sound of a place, with shots at known times, from the clips of one split.

A place (`train.data.place_recipes`) has beds of ambience, which change every minute or so, and
impulsive sounds at a rate and a level that fit it. Films are the reels of `train.data.mixtures`.
Ten shots an hour are added, at event-to-background ratios (EBR) of 0, 6, 12 and 20 dB in turn.

A split has minutes of fitting clips, not hours, so a stream repeats them in another order and at
other levels; `describe_material` says how many there are. The same split, seed and length give the
same samples.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from streamdet.constants import RATE
from train.data import mixtures
from train.data.corpus import Corpus, CorpusClip
from train.data.mixtures import (
    SHORTEST_BED_S,
    MixtureClips,
    MixtureEvent,
    add_shot,
    loop_samples,
    scale_to_level,
)
from train.data.place_recipes import ANY, FILM, PLACES, Bed, Place, SoundGroup
from train.data.pool import ClipPool

PIECE_S = 600
"""Streams are made of pieces of this length. Each is cross-faded into the next over FADE_S."""
FADE_S = 1.0
SHOTS_H = 10.0
EBRS_DB = (0.0, 6.0, 12.0, 20.0)
FLOOR_DB = -78.0
"""RMS level in dBFS of the noise of the microphone."""
LONGEST_SOUND_S = 5.0
_CATEGORIES = ("ambient", "hard_negative", "music", "speech")
_TAKE_S, _TAKE_DB = (20.0, 60.0), 4.0
"""A clip of a bed plays this long, and is at most so much louder or quieter than the piece."""
_EDGE_S = 2.0


@dataclass(frozen=True)
class StreamPart:
    """The next ``(n,) float32`` samples of a stream, and the shots that begin in them or in the
    piece that they belong to, in seconds of the stream."""

    samples: np.ndarray
    truth: tuple[MixtureEvent, ...]


class Material(NamedTuple):
    """The distinct clips of a place in a split, and their minutes. ``shots``: clips of shots, from
    ``recordings``."""

    beds: int
    bed_minutes: float
    sounds: int
    sound_minutes: float
    shots: int
    recordings: int


def list_places(corpus: Corpus, split: str) -> list[Place]:
    """The places whose every bed has clips in a split."""
    return [p for p in PLACES if all(_select_beds(corpus, split, bed) for bed in p.beds)]


def describe_material(corpus: Corpus, split: str, place: Place) -> Material:
    """Count the distinct clips of a place."""
    beds = {c.path: c.length for bed in place.beds for c in _select_beds(corpus, split, bed)}
    sounds = {
        c.path: min(c.length, LONGEST_SOUND_S * RATE)
        for group in place.sounds
        for c in _select(corpus, split, group.labels)
    }
    shots = [c for c in corpus.select_clips(split, "gunshot") if c.kind != "field"]
    return Material(
        len(beds), sum(beds.values()) / RATE / 60.0,
        len(sounds), sum(sounds.values()) / RATE / 60.0,
        len(shots), len({c.group for c in shots}),
    )  # fmt: skip


def make_stream(
    corpus: Corpus,
    split: str,
    schedule: Sequence[tuple[Place, int]],
    seed: int,
    shots_h: float,
) -> Iterator[StreamPart]:
    """Make a stream of one place after another, each for a number of pieces.

    ``shots_h`` shots an hour are added; the other sounds do not depend on their number.
    """
    clips = MixtureClips(corpus, split)
    fade = round(FADE_S * RATE)
    rise = np.sqrt(np.linspace(0.0, 1.0, fade, dtype=np.float32))
    tail, start_s, shots = np.zeros(0, np.float32), 0.0, 0
    places = [place for place, pieces in schedule for _ in range(pieces)]
    for i, place in enumerate(places):
        rng = np.random.default_rng([seed, i, zlib.crc32(place.name.encode())])
        count = int((i + 1) * shots_h * PIECE_S / 3600.0) - shots
        ebrs = [EBRS_DB[(shots + k) % len(EBRS_DB)] for k in range(count)]
        shots += count
        x, truth = _make_piece(clips, split, place, ebrs, rng)
        if len(tail):
            x[:fade] = x[:fade] * rise + tail * rise[::-1]
        tail = x[len(x) - fade :]
        kept = len(x) if i == len(places) - 1 else len(x) - fade
        moved = [
            replace(e, onset_s=e.onset_s + start_s, offset_s=e.offset_s + start_s) for e in truth
        ]
        yield StreamPart(np.clip(x[:kept], -1.0, 1.0), tuple(moved))
        start_s += (len(x) - fade) / RATE


def _make_piece(
    clips: MixtureClips,
    split: str,
    place: Place,
    ebrs_db: Sequence[float],
    rng: np.random.Generator,
) -> tuple[np.ndarray, list[MixtureEvent]]:
    """A piece of a place with a shot at each EBR, and its shots in seconds."""
    corpus, count = clips.corpus, PIECE_S * RATE
    if place.name == FILM:
        seed = int(rng.integers(2**31))
        (reel,) = mixtures.make_film_mixtures(corpus, split, seed, 1, shots=0)
        x = reel.samples[:count]
    else:
        x = np.zeros(count, np.float32)
        for bed in place.beds:
            x += _make_bed(corpus, ClipPool(_select_beds(corpus, split, bed)), bed, count, rng)
        for group in place.sounds:
            pool = ClipPool(_select(corpus, split, group.labels))
            if pool:
                _add_sounds(corpus, pool, group, x, rng)
    x = x + rng.standard_normal(count, np.float32) * np.float32(10.0 ** (FLOOR_DB / 20.0))
    edges = np.linspace(_EDGE_S * RATE, count - _EDGE_S * RATE, len(ebrs_db) + 1).astype(int)
    truth = []
    for ebr_db, first, last in zip(ebrs_db, edges[:-1], edges[1:], strict=True):
        x, event = add_shot(x, int(first), int(last), *clips.draw_shot(rng), ebr_db, rng)
        truth.append(event)
    return x, truth


def _make_bed(
    corpus: Corpus, pool: ClipPool, bed: Bed, count: int, rng: np.random.Generator
) -> np.ndarray:
    """Looped clips of a bed, each cross-faded into the next, over ``count`` samples."""
    x, fade, at = np.zeros(count, np.float32), round(FADE_S * RATE), 0
    rise = np.sqrt(np.linspace(0.0, 1.0, fade, dtype=np.float32))
    level_db = rng.uniform(*bed.level_db)
    while at < count:
        length = round(rng.uniform(*_TAKE_S) * RATE)
        take = loop_samples(corpus.read_samples(pool.draw(rng)), length + fade, rng)
        take = scale_to_level(take, level_db + rng.uniform(-_TAKE_DB, _TAKE_DB))
        take[:fade] *= rise
        take[length:] *= rise[::-1]
        part = take[: count - at]
        x[at : at + len(part)] += part
        at += length
    return x


def _add_sounds(
    corpus: Corpus, pool: ClipPool, group: SoundGroup, x: np.ndarray, rng: np.random.Generator
) -> None:
    """Add the sounds of a group to a piece at random times."""
    fade = RATE // 50
    for _ in range(rng.poisson(group.per_hour * len(x) / RATE / 3600.0)):
        sound = corpus.read_samples(pool.draw(rng))[: round(LONGEST_SOUND_S * RATE)]
        if len(sound) > fade:
            sound[len(sound) - fade :] *= np.linspace(1.0, 0.0, fade, dtype=np.float32)
        gain = 10.0 ** (rng.uniform(*group.peak_db) / 20.0) / (np.max(np.abs(sound)) + 1e-9)
        start = int(rng.integers(0, len(x) - len(sound)))
        x[start : start + len(sound)] += sound * np.float32(gain)


def _select_beds(corpus: Corpus, split: str, bed: Bed) -> list[CorpusClip]:
    """The clips of a bed. Shorter ones are single sounds, and would repeat in a rhythm."""
    shortest = SHORTEST_BED_S * RATE
    return [c for c in _select(corpus, split, bed.labels) if c.length >= shortest]


def _select(corpus: Corpus, split: str, labels: Sequence[str]) -> list[CorpusClip]:
    wanted = set(labels)
    return [
        c
        for c in corpus.select_clips(split, *_CATEGORIES)
        if c.label in wanted or ANY + c.category in wanted
    ]
