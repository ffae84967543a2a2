"""Fixed sets of scenes to measure on: a folder of FLAC files with a truth.csv.

`rare` follows the DCASE 2017 task 2 protocol: 30 s of background, half of the files with
one gunshot event at a stated event-to-background ratio. `film` makes reels of ten minutes:
beds of ambience and music, speech, impulsive sounds, and about one burst a minute.
The same split, seed and settings give the same samples. Clips of 8 kHz forest recorders
are left out: they hold far shots in noise of their own and are counted apart.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from train.data.corpus import RATE, Clip, Corpus
from train.data.pool import Pool
from train.data.shots import find_event

BED_S = 4.0
"""A bed is a recording of a place: shorter clips are of single sounds, and looping one would
make a rhythm that no place has."""
JOIN = 1_600

FIELDS = ("file", "onset_s", "offset_s", "group", "ebr_db")


@dataclass(frozen=True)
class Truth:
    """One event: onset and offset in seconds, the recording it came from, its EBR in dB."""

    onset_s: float
    offset_s: float
    group: str
    ebr_db: float


@dataclass(frozen=True)
class Mixture:
    """``samples`` (n,) float32 at 16 kHz under a name like ``rare/000.flac``."""

    name: str
    samples: np.ndarray
    truth: tuple[Truth, ...]


class _Sources:
    def __init__(self, corpus: Corpus, split: str) -> None:
        self.corpus = corpus
        shots = [c for c in corpus.select(split, "gunshot") if c.kind != "field"]
        self.shots = Pool(shots, by_label=False)
        ambient = corpus.select(split, "ambient")
        self.beds = Pool([c for c in ambient if c.length >= BED_S * RATE])
        self.negatives = Pool(corpus.select(split, "hard_negative"))
        self.music = Pool(corpus.select(split, "music"), by_label=False)
        self.speech = Pool(corpus.select(split, "speech"), by_label=False)

    def shot(self, rng: np.random.Generator) -> tuple[Clip, np.ndarray, int, int]:
        clip = self.shots.draw(rng)
        x = self.corpus.samples(clip)[: 4 * RATE]
        return clip, x, *find_event(x)

    def bed(self, pool: Pool, count: int, rng: np.random.Generator) -> np.ndarray:
        """One clip of the pool, looped from a random place over ``count`` samples, each
        turn cross-faded into the next over 100 ms."""
        x = self.corpus.samples(pool.draw(rng))
        join = min(JOIN, len(x) // 2)
        ramp = np.linspace(0.0, 1.0, join, dtype=np.float32)
        turn = x[join:].copy()
        turn[len(turn) - join :] = turn[len(turn) - join :] * (1.0 - ramp) + x[:join] * ramp
        return np.take(turn, np.arange(count) + rng.integers(len(turn)), mode="wrap")


def rare(
    corpus: Corpus, split: str, seed: int, count: int, ebrs: tuple[float, ...]
) -> list[Mixture]:
    """``count`` mixtures of 30 s; the even ones hold one event, the EBRs in turn."""
    sources, mixtures = _Sources(corpus, split), []
    for i in range(count):
        rng = np.random.default_rng([seed, i])
        x = _at_level(sources.bed(sources.beds, 30 * RATE, rng), rng.uniform(-45.0, -28.0))
        truth: tuple[Truth, ...] = ()
        if i % 2 == 0:
            ebr = ebrs[i // 2 % len(ebrs)]
            x, event = _with_shot(x, 0, len(x), sources, ebr, rng)
            truth = (event,)
        mixtures.append(Mixture(f"rare/{i:03d}.flac", _within(x), truth))
    return mixtures


def film(corpus: Corpus, split: str, seed: int, reels: int) -> list[Mixture]:
    """``reels`` reels of 10 min, as the module's docstring says."""
    sources, mixtures = _Sources(corpus, split), []
    for i in range(reels):
        rng = np.random.default_rng([seed, 1, i])
        x = np.concatenate([_take(sources, rng) for _ in range(20)])
        for _ in range(100):
            clip = sources.corpus.samples(sources.negatives.draw(rng))[: 5 * RATE]
            at = int(rng.integers(0, len(x) - len(clip)))
            peak = float(np.max(np.abs(clip))) + 1e-9
            x[at : at + len(clip)] += clip * 10.0 ** (rng.uniform(-28.0, -14.0) / 20.0) / peak
        events = []
        for minute in range(10):
            start = minute * 60 * RATE
            ebr = float(rng.uniform(0.0, 18.0))
            x, event = _with_shot(x, start, start + 55 * RATE, sources, ebr, rng)
            events.append(event)
        mixtures.append(Mixture(f"film/{i:03d}.flac", _within(x), tuple(events)))
    return mixtures


def _take(sources: _Sources, rng: np.random.Generator) -> np.ndarray:
    """30 s of a film's bed: ambience, mostly with music or speech over it."""
    count = 30 * RATE
    x = _at_level(sources.bed(sources.beds, count, rng), rng.uniform(-50.0, -32.0))
    draw = rng.random()
    if draw < 0.4:
        x += _at_level(sources.bed(sources.music, count, rng), rng.uniform(-38.0, -22.0))
    elif draw < 0.8:
        x += _at_level(sources.bed(sources.speech, count, rng), rng.uniform(-36.0, -24.0))
    return x


def _with_shot(
    x: np.ndarray,
    first: int,
    last: int,
    sources: _Sources,
    ebr_db: float,
    rng: np.random.Generator,
) -> tuple[np.ndarray, Truth]:
    clip, shot, onset, offset = sources.shot(rng)
    at = int(rng.integers(first + RATE // 2, last - len(shot) - RATE // 2))
    under = x[at + onset : at + offset]
    gain = np.sqrt((np.mean(under**2) + 1e-10) / (np.mean(shot[onset:offset] ** 2) + 1e-12))
    x = x.copy()
    x[at : at + len(shot)] += shot * np.float32(gain * 10.0 ** (ebr_db / 20.0))
    return x, Truth((at + onset) / RATE, (at + offset) / RATE, clip.group, ebr_db)


def _at_level(x: np.ndarray, rms_db: float) -> np.ndarray:
    return x * np.float32(10.0 ** (rms_db / 20.0) / (np.sqrt(np.mean(x**2)) + 1e-9))


def _within(x: np.ndarray) -> np.ndarray:
    """Scaled down, where needed, to a peak of 0.95."""
    return (x * min(1.0, 0.95 / (float(np.max(np.abs(x))) + 1e-9))).astype(np.float32)


def write(mixtures: list[Mixture], folder: Path) -> None:
    """Write the files and ``folder/truth.csv``."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "truth.csv").open("w", newline="") as sink:
        rows = csv.writer(sink)
        rows.writerow(FIELDS)
        for mixture in mixtures:
            path = folder / mixture.name
            path.parent.mkdir(exist_ok=True)
            soundfile.write(path, mixture.samples, RATE)
            for t in mixture.truth:
                onset, offset = f"{t.onset_s:.3f}", f"{t.offset_s:.3f}"
                rows.writerow([mixture.name, onset, offset, t.group, f"{t.ebr_db:g}"])
