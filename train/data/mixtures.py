"""Fixed sets of scenes to measure on: a folder of FLAC files with a truth.csv.

`rare` follows the DCASE 2017 task 2 protocol: 30 s of background, half of the files with
one gunshot event at a stated event-to-background ratio. `film` makes reels of ten minutes:
beds of ambience and music, speech, impulsive sounds, and about one burst a minute. `bursts`
has 30 s of background with one single shot fired several times, to count rounds in.
The same split, seed and settings give the same samples. Clips of 8 kHz forest recorders
are left out: they hold far shots in noise of their own and are counted apart. Beside
truth.csv a ``contents.csv`` says which clip is heard where, to name false alarms by.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import soundfile

from streamdet.constants import RATE
from train.data import sounds
from train.data.corpus import Corpus, CorpusClip
from train.data.pool import ClipPool
from train.data.shots import find_event

SHORTEST_BED_S = 4.0
"""A bed is a recording of a place: shorter clips are of single sounds, and looping one would
make a rhythm that no place has."""
CROSSFADE = 1_600

TRUTH_COLUMNS = ("file", "onset_s", "offset_s", "group", "ebr_db", "rounds")
CONTENTS_COLUMNS = ("file", "onset_s", "offset_s", "role", "label", "path")


@dataclass(frozen=True)
class MixtureEvent:
    """One event: onset and offset in seconds, the recording it came from, its EBR in dB, and
    its rounds where they are known."""

    onset_s: float
    offset_s: float
    group: str
    ebr_db: float
    rounds: int | None = None


@dataclass(frozen=True)
class MixtureContent:
    """What else is heard from ``onset_s`` to ``offset_s``: a clip as a ``bed`` or a ``sound``."""

    onset_s: float
    offset_s: float
    role: str
    label: str
    path: str


@dataclass(frozen=True)
class Mixture:
    """``samples`` (n,) float32 at 16 kHz under a name like ``rare/000.flac``."""

    name: str
    samples: np.ndarray
    truth: tuple[MixtureEvent, ...]
    contents: tuple[MixtureContent, ...] = ()


class _MixtureClips:
    def __init__(self, corpus: Corpus, split: str) -> None:
        self.corpus = corpus
        shots = [c for c in corpus.select_clips(split, "gunshot") if c.kind != "field"]
        self.shots = ClipPool(shots, by_label=False)
        ambient = corpus.select_clips(split, "ambient")
        self.beds = ClipPool([c for c in ambient if c.length >= SHORTEST_BED_S * RATE])
        self.negatives = ClipPool(corpus.select_clips(split, "hard_negative"))
        self.music = ClipPool(corpus.select_clips(split, "music"), by_label=False)
        self.speech = ClipPool(corpus.select_clips(split, "speech"), by_label=False)

    def shot(self, rng: np.random.Generator) -> tuple[CorpusClip, np.ndarray]:
        clip = self.shots.draw(rng)
        return clip, self.corpus.read_samples(clip)[: 4 * RATE]

    def single(self, rng: np.random.Generator) -> tuple[CorpusClip, np.ndarray]:
        """A short clip with one onset."""
        while True:
            clip, x = self.shot(rng)
            if len(clip.onsets) == 1 and clip.length < 2 * RATE:
                return clip, x

    def bed(
        self, pool: ClipPool, count: int, rng: np.random.Generator
    ) -> tuple[np.ndarray, CorpusClip]:
        """One clip of the pool, looped from a random place over ``count`` samples, each
        turn cross-faded into the next over 100 ms."""
        clip = pool.draw(rng)
        x = self.corpus.read_samples(clip)
        join = min(CROSSFADE, len(x) // 2)
        ramp = np.linspace(0.0, 1.0, join, dtype=np.float32)
        turn = x[join:].copy()
        turn[len(turn) - join :] = turn[len(turn) - join :] * (1.0 - ramp) + x[:join] * ramp
        return np.take(turn, np.arange(count) + rng.integers(len(turn)), mode="wrap"), clip


def make_rare_mixtures(
    corpus: Corpus, split: str, seed: int, count: int, ebrs: tuple[float, ...]
) -> Iterator[Mixture]:
    """``count`` mixtures of 30 s; the even ones hold one event, the EBRs in turn."""
    sources = _MixtureClips(corpus, split)
    for i in range(count):
        rng = np.random.default_rng([seed, i])
        bed, clip = sources.bed(sources.beds, 30 * RATE, rng)
        x = _scale_to_level(bed, rng.uniform(-45.0, -28.0))
        contents = (MixtureContent(0.0, 30.0, "bed", clip.label, clip.path),)
        truth: tuple[MixtureEvent, ...] = ()
        if i % 2 == 0:
            ebr = ebrs[i // 2 % len(ebrs)]
            x, event = _add_shot(x, 0, len(x), *sources.shot(rng), ebr, rng)
            truth = (event,)
        yield Mixture(f"rare/{i:03d}.flac", _limit_peak(x), truth, contents)


def make_burst_mixtures(corpus: Corpus, split: str, seed: int, count: int) -> Iterator[Mixture]:
    """``count`` mixtures of 30 s with one burst each, 6 to 18 dB over its background: aimed
    fire, automatic fire or a volley of one shot, its rounds known."""
    sources = _MixtureClips(corpus, split)
    for i in range(count):
        rng = np.random.default_rng([seed, 2, i])
        bed, clip = sources.bed(sources.beds, 30 * RATE, rng)
        x = _scale_to_level(bed, rng.uniform(-45.0, -28.0))
        contents = (MixtureContent(0.0, 30.0, "bed", clip.label, clip.path),)
        shot, samples = sources.single(rng)
        burst, onsets = sounds.repeat_sound(samples, shot.onsets[0], rng)
        ebr = float(rng.uniform(6.0, 18.0))
        x, event = _add_shot(x, 0, len(x), shot, burst, ebr, rng)
        event = replace(event, rounds=len(onsets))
        yield Mixture(f"bursts/{i:03d}.flac", _limit_peak(x), (event,), contents)


def make_film_mixtures(corpus: Corpus, split: str, seed: int, reels: int) -> Iterator[Mixture]:
    """``reels`` reels of 10 min, as the module's docstring says."""
    sources = _MixtureClips(corpus, split)
    for i in range(reels):
        rng = np.random.default_rng([seed, 1, i])
        takes = [_make_film_bed(sources, 30.0 * k, rng) for k in range(20)]
        x = np.concatenate([samples for samples, _ in takes])
        contents = [content for _, some in takes for content in some]
        for _ in range(100):
            clip = sources.negatives.draw(rng)
            sound = sources.corpus.read_samples(clip)[: 5 * RATE]
            at = int(rng.integers(0, len(x) - len(sound)))
            peak = float(np.max(np.abs(sound))) + 1e-9
            x[at : at + len(sound)] += sound * 10.0 ** (rng.uniform(-28.0, -14.0) / 20.0) / peak
            span = (at / RATE, (at + len(sound)) / RATE)
            contents.append(MixtureContent(*span, "sound", clip.label, clip.path))
        events = []
        for minute in range(10):
            start = minute * 60 * RATE
            ebr = float(rng.uniform(0.0, 18.0))
            x, event = _add_shot(x, start, start + 55 * RATE, *sources.shot(rng), ebr, rng)
            events.append(event)
        name = f"film/{i:03d}.flac"
        yield Mixture(name, _limit_peak(x), tuple(events), tuple(contents))


def _make_film_bed(
    sources: _MixtureClips, start_s: float, rng: np.random.Generator
) -> tuple[np.ndarray, list[MixtureContent]]:
    """30 s of a film's bed: ambience, mostly with music or speech over it; what it is."""
    count = 30 * RATE
    bed, clip = sources.bed(sources.beds, count, rng)
    x, clips = _scale_to_level(bed, rng.uniform(-50.0, -32.0)), [clip]
    draw = rng.random()
    if draw < 0.4:
        music, clip = sources.bed(sources.music, count, rng)
        x += _scale_to_level(music, rng.uniform(-38.0, -22.0))
        clips.append(clip)
    elif draw < 0.8:
        speech, clip = sources.bed(sources.speech, count, rng)
        x += _scale_to_level(speech, rng.uniform(-36.0, -24.0))
        clips.append(clip)
    return x, [MixtureContent(start_s, start_s + 30.0, "bed", c.label, c.path) for c in clips]


def _add_shot(
    x: np.ndarray,
    first: int,
    last: int,
    clip: CorpusClip,
    shot: np.ndarray,
    ebr_db: float,
    rng: np.random.Generator,
) -> tuple[np.ndarray, MixtureEvent]:
    onset, offset = find_event(shot)
    at = int(rng.integers(first + RATE // 2, last - len(shot) - RATE // 2))
    under = x[at + onset : at + offset]
    gain = np.sqrt((np.mean(under**2) + 1e-10) / (np.mean(shot[onset:offset] ** 2) + 1e-12))
    x = x.copy()
    x[at : at + len(shot)] += shot * np.float32(gain * 10.0 ** (ebr_db / 20.0))
    return x, MixtureEvent((at + onset) / RATE, (at + offset) / RATE, clip.group, ebr_db)


def _scale_to_level(x: np.ndarray, rms_db: float) -> np.ndarray:
    return x * np.float32(10.0 ** (rms_db / 20.0) / (np.sqrt(np.mean(x**2)) + 1e-9))


def _limit_peak(x: np.ndarray) -> np.ndarray:
    """Scaled down, where needed, to a peak of 0.95."""
    return (x * min(1.0, 0.95 / (float(np.max(np.abs(x))) + 1e-9))).astype(np.float32)


def write_mixtures(mixtures: Iterable[Mixture], folder: Path) -> int:
    """Write the files as they are made, at last ``folder/contents.csv`` and, once all else is
    there, ``folder/truth.csv``; returns how many."""
    truth: list[list[object]] = []
    contents: list[list[object]] = []
    count = 0
    for mixture in mixtures:
        count += 1
        path = folder / mixture.name
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, mixture.samples, RATE)
        for t in mixture.truth:
            span = (f"{t.onset_s:.3f}", f"{t.offset_s:.3f}")
            truth.append([mixture.name, *span, t.group, f"{t.ebr_db:g}", t.rounds])
        for c in mixture.contents:
            span = (f"{c.onset_s:.3f}", f"{c.offset_s:.3f}")
            contents.append([mixture.name, *span, c.role, c.label, c.path])
    _write_table(folder / "contents.csv", CONTENTS_COLUMNS, contents)
    _write_table(folder / "truth.csv", TRUTH_COLUMNS, truth)
    return count


def _write_table(path: Path, columns: tuple[str, ...], rows: list[list[object]]) -> None:
    with path.open("w", newline="") as sink:
        table = csv.writer(sink)
        table.writerow(columns)
        table.writerows(rows)
