"""Make fixed sets of scenes for evaluation: a folder of FLAC files with a truth.csv.

`make_rare_mixtures` follows the DCASE 2017 task 2 protocol: 30 s of background, half of the files
with one gunshot event at a given event-to-background ratio (EBR). `make_film_mixtures` makes reels
of ten minutes: beds of ambience and music, speech, impulsive sounds, and about one burst a minute.
`make_burst_mixtures` makes 30 s of background with one shot fired several times, to evaluate the
count of rounds.

The same split, seed and settings give the same samples. Clips of 8 kHz forest recorders are left
out: they hold far shots in noise of their own and are evaluated separately. Beside truth.csv,
``contents.csv`` lists which clip plays where, so that false alarms can be attributed.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import soundfile

from streamdet.constants import RATE
from train.data import sounds
from train.data.config import MixtureSetConfig
from train.data.corpus import Corpus, CorpusClip
from train.data.pool import ClipPool
from train.data.shots import HOP, find_event

SHORTEST_BED_S = 4.0
"""Shorter clips are single sounds: a bed made of one would repeat it in a rhythm."""
CROSSFADE = 1_600
"""Samples."""
CITY_EVENT_S = 0.3

TRUTH_COLUMNS = ("file", "onset_s", "offset_s", "group", "ebr_db", "rounds")
CONTENTS_COLUMNS = ("file", "onset_s", "offset_s", "role", "label", "path")


@dataclass(frozen=True)
class MixtureEvent:
    """One event: its onset, offset, recording and, if known, EBR in dB and number of rounds. In
    field recordings ``ebr_db`` is the distance in metres."""

    onset_s: float
    offset_s: float
    group: str
    ebr_db: float | None
    rounds: int | None = None


@dataclass(frozen=True)
class MixtureContent:
    """A clip that plays from ``onset_s`` to ``offset_s``; its role is ``bed`` or ``sound``."""

    onset_s: float
    offset_s: float
    role: str
    label: str
    path: str


@dataclass(frozen=True)
class Mixture:
    """A scene: (n,) float32 ``samples`` at 16 kHz and a ``name`` like ``rare/000.flac``."""

    name: str
    samples: np.ndarray
    truth: tuple[MixtureEvent, ...]
    contents: tuple[MixtureContent, ...] = ()


class MixtureClips:
    """The clips of one split that scenes are made of."""

    def __init__(self, corpus: Corpus, split: str) -> None:
        self.corpus = corpus
        shots = [c for c in corpus.select_clips(split, "gunshot") if c.kind != "field"]
        self.shots = ClipPool(shots, by_label=False)
        ambient = corpus.select_clips(split, "ambient")
        self.beds = ClipPool([c for c in ambient if c.length >= SHORTEST_BED_S * RATE])
        self.negatives = ClipPool(corpus.select_clips(split, "hard_negative"))
        self.music = ClipPool(corpus.select_clips(split, "music"), by_label=False)
        self.speech = ClipPool(corpus.select_clips(split, "speech"), by_label=False)

    def draw_shot(self, rng: np.random.Generator) -> tuple[CorpusClip, np.ndarray]:
        """Draw a clip of shots and return it with its first 4 s."""
        clip = self.shots.draw(rng)
        return clip, self.corpus.read_samples(clip)[: 4 * RATE]

    def draw_single_shot(self, rng: np.random.Generator) -> tuple[CorpusClip, np.ndarray]:
        """Draw a short clip with one onset."""
        while True:
            clip, x = self.draw_shot(rng)
            if len(clip.onsets) == 1 and clip.length < 2 * RATE:
                return clip, x

    def draw_bed(
        self, pool: ClipPool, count: int, rng: np.random.Generator
    ) -> tuple[np.ndarray, CorpusClip]:
        """Draw a clip and loop it over ``count`` samples."""
        clip = pool.draw(rng)
        return loop_samples(self.corpus.read_samples(clip), count, rng), clip


def make_mixture_set(
    corpus: Corpus,
    split: str,
    config: MixtureSetConfig,
    distances: Mapping[str, float] | None = None,
) -> Iterator[Mixture]:
    """Make the mixtures of a set, and those of the field recordings in the city, of which
    ``distances`` has the metres by file name."""
    yield from make_rare_mixtures(corpus, split, config.seed, config.rare, config.ebrs_db)
    yield from make_film_mixtures(corpus, split, config.seed, config.reels)
    yield from make_burst_mixtures(corpus, split, config.seed, config.bursts)
    yield from make_city_mixtures(corpus, split, distances)


def make_rare_mixtures(
    corpus: Corpus, split: str, seed: int, count: int, ebrs: tuple[float, ...]
) -> Iterator[Mixture]:
    """Make ``count`` mixtures of 30 s; every second one holds an event, at each EBR in turn."""
    clips = MixtureClips(corpus, split)
    for i in range(count):
        rng = np.random.default_rng([seed, i])
        bed, clip = clips.draw_bed(clips.beds, 30 * RATE, rng)
        x = scale_to_level(bed, rng.uniform(-45.0, -28.0))
        contents = (MixtureContent(0.0, 30.0, "bed", clip.label, clip.path),)
        truth: tuple[MixtureEvent, ...] = ()
        if i % 2 == 0:
            ebr = ebrs[i // 2 % len(ebrs)]
            x, event = add_shot(x, 0, len(x), *clips.draw_shot(rng), ebr, rng)
            truth = (event,)
        yield Mixture(f"rare/{i:03d}.flac", _limit_peak(x), truth, contents)


def make_level_mixtures(
    corpus: Corpus, split: str, seed: int, count: int, ebrs: tuple[float, ...]
) -> Iterator[Mixture]:
    """Make ``count`` mixtures like those of `make_rare_mixtures` that hold an event."""
    made = make_rare_mixtures(corpus, split, seed, 2 * count, ebrs)
    return (mixture for mixture in made if mixture.truth)


def make_burst_mixtures(corpus: Corpus, split: str, seed: int, count: int) -> Iterator[Mixture]:
    """Make ``count`` mixtures of 30 s with one burst each, 6 to 18 dB over the background.

    A burst is one shot repeated as aimed fire, automatic fire or a volley; its rounds are known.
    """
    clips = MixtureClips(corpus, split)
    for i in range(count):
        rng = np.random.default_rng([seed, 2, i])
        bed, clip = clips.draw_bed(clips.beds, 30 * RATE, rng)
        x = scale_to_level(bed, rng.uniform(-45.0, -28.0))
        contents = (MixtureContent(0.0, 30.0, "bed", clip.label, clip.path),)
        shot, samples = clips.draw_single_shot(rng)
        burst, onsets = sounds.repeat_sound(samples, shot.onsets[0], rng)
        ebr = float(rng.uniform(6.0, 18.0))
        x, event = add_shot(x, 0, len(x), shot, burst, ebr, rng)
        event = replace(event, rounds=len(onsets))
        yield Mixture(f"bursts/{i:03d}.flac", _limit_peak(x), (event,), contents)


def make_film_mixtures(
    corpus: Corpus, split: str, seed: int, reels: int, shots: int = 10
) -> Iterator[Mixture]:
    """Make ``reels`` reels of 10 min: 100 impulsive sounds and 10 shots over 20 beds each.

    Fewer ``shots`` leave out the last ones.
    """
    clips = MixtureClips(corpus, split)
    for i in range(reels):
        rng = np.random.default_rng([seed, 1, i])
        takes = [_make_film_bed(clips, 30.0 * k, rng) for k in range(20)]
        x = np.concatenate([samples for samples, _ in takes])
        contents = [content for _, bed_contents in takes for content in bed_contents]
        for _ in range(100):
            clip = clips.negatives.draw(rng)
            sound = clips.corpus.read_samples(clip)[: 5 * RATE]
            start = int(rng.integers(0, len(x) - len(sound)))
            stop = start + len(sound)
            peak = float(np.max(np.abs(sound))) + 1e-9
            x[start:stop] += sound * 10.0 ** (rng.uniform(-28.0, -14.0) / 20.0) / peak
            span = (start / RATE, stop / RATE)
            contents.append(MixtureContent(*span, "sound", clip.label, clip.path))
        events = []
        for minute in range(shots):
            start = minute * 60 * RATE
            ebr = float(rng.uniform(0.0, 18.0))
            x, event = add_shot(x, start, start + 55 * RATE, *clips.draw_shot(rng), ebr, rng)
            events.append(event)
        name = f"film/{i:03d}.flac"
        yield Mixture(name, _limit_peak(x), tuple(events), tuple(contents))


def make_city_mixtures(
    corpus: Corpus, split: str, distances: Mapping[str, float] | None = None
) -> Iterator[Mixture]:
    """The field recordings whose shots were all measured, as they are. An event lasts 0.3 s."""
    for clip in corpus.select_clips(split, "gunshot"):
        if clip.measured:
            metres = (distances or {}).get(Path(clip.path).name)
            at = None if metres is None else round(metres)
            onsets = np.array(clip.onsets) * HOP / RATE
            truth = tuple(MixtureEvent(t, t + CITY_EVENT_S, clip.group, at) for t in onsets)
            name = f"city/{Path(clip.path).stem}.flac"
            yield Mixture(name, corpus.read_samples(clip), truth)


def _make_film_bed(
    clips: MixtureClips, start_s: float, rng: np.random.Generator
) -> tuple[np.ndarray, list[MixtureContent]]:
    """30 s of a film's bed and its contents: ambience, mostly with music or speech over it."""
    count = 30 * RATE
    bed, clip = clips.draw_bed(clips.beds, count, rng)
    x, layers = scale_to_level(bed, rng.uniform(-50.0, -32.0)), [clip]
    draw = rng.random()
    if draw < 0.4:
        music, clip = clips.draw_bed(clips.music, count, rng)
        x += scale_to_level(music, rng.uniform(-38.0, -22.0))
        layers.append(clip)
    elif draw < 0.8:
        speech, clip = clips.draw_bed(clips.speech, count, rng)
        x += scale_to_level(speech, rng.uniform(-36.0, -24.0))
        layers.append(clip)
    return x, [MixtureContent(start_s, start_s + 30.0, "bed", c.label, c.path) for c in layers]


def loop_samples(x: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Loop ``(n,) float32`` samples from a random position over ``count`` samples.

    Their end is cross-faded into their beginning over 100 ms.
    """
    fade = min(CROSSFADE, len(x) // 2)
    ramp = np.linspace(0.0, 1.0, fade, dtype=np.float32)
    loop = x[fade:].copy()
    loop[len(loop) - fade :] = loop[len(loop) - fade :] * (1.0 - ramp) + x[:fade] * ramp
    return np.take(loop, np.arange(count) + rng.integers(len(loop)), mode="wrap")


def add_shot(
    x: np.ndarray,
    first: int,
    last: int,
    clip: CorpusClip,
    shot: np.ndarray,
    ebr_db: float,
    rng: np.random.Generator,
) -> tuple[np.ndarray, MixtureEvent]:
    """Add a shot at a random position between two samples, at least 0.5 s from both.

    Returns the sum and the event.
    """
    onset, offset = find_event(shot)
    start = int(rng.integers(first + RATE // 2, last - len(shot) - RATE // 2))
    under = x[start + onset : start + offset]
    gain = np.sqrt((np.mean(under**2) + 1e-10) / (np.mean(shot[onset:offset] ** 2) + 1e-12))
    x = x.copy()
    x[start : start + len(shot)] += shot * np.float32(gain * 10.0 ** (ebr_db / 20.0))
    return x, MixtureEvent((start + onset) / RATE, (start + offset) / RATE, clip.group, ebr_db)


def scale_to_level(x: np.ndarray, rms_db: float) -> np.ndarray:
    """Scale samples to an RMS level in dBFS."""
    return x * np.float32(10.0 ** (rms_db / 20.0) / (np.sqrt(np.mean(x**2)) + 1e-9))


def _limit_peak(x: np.ndarray) -> np.ndarray:
    """Scale down to a peak of 0.95 where it is higher."""
    return (x * min(1.0, 0.95 / (float(np.max(np.abs(x))) + 1e-9))).astype(np.float32)


def write_mixtures(mixtures: Iterable[Mixture], folder: Path) -> int:
    """Write scenes as they are made, then ``contents.csv`` and ``truth.csv``; return their number.

    ``truth.csv`` is written last: a folder that has one is complete.
    """
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
            ebr_db = "" if t.ebr_db is None else f"{t.ebr_db:g}"
            truth.append([mixture.name, *span, t.group, ebr_db, t.rounds])
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
