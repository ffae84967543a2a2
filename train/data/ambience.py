"""Ambience without gunshots, to measure how often a detector raises false alarms anywhere.

`make_ambience` plays the clips of one split that hold no gunshot, in streams of six kinds:

- ``quiet``: only the noise of a microphone, which is synthetic
- ``ambience``: streets, traffic, rain, wind, crowds, engines, machines, animals, rooms
- ``forest``: forest recorders
- ``speech`` and ``music``
- ``impulsive``: an impact, firework, drum, tool or the like every 6 s, over ambience

Each clip plays once at each level, and fades into the next. SHARES says how much of its time a
microphone is taken to hear each kind: half of the time nothing, then mostly ordinary ambience, and
12 impulsive sounds an hour. Explosions are left out, because they count neither as gunshots nor as
other sounds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from streamdet.constants import RATE
from train.data.corpus import Corpus, CorpusClip, CorpusError

SHARES = {
    "quiet": 0.5, "ambience": 0.25, "forest": 0.05, "speech": 0.1, "music": 0.08, "impulsive": 0.02,
}  # fmt: skip
"""The share of each kind in the time of a microphone."""
LEVELS_DB = (-60.0, -54.0, -48.0, -42.0, -36.0, -30.0)
"""RMS levels of the clips, and of the beds under impulsive sounds."""
LOWEST_PEAK_DB, HIGHEST_PEAK_DB = -28.0, -14.0
"""Range of the peaks of impulsive sounds."""
SPACING_S, LONGEST_S = 6.0, 5.0
"""An impulsive sound begins every SPACING_S, and is cut at LONGEST_S."""
FLOOR_DB = -75.0
CROSSFADE_S, QUIET_S = 0.5, 60.0
_KINDS = {"speech": "speech", "music": "music", "hard_negative": "impulsive"}


@dataclass(frozen=True)
class AmbientStream:
    """A stream of one of the kinds in SHARES: ``(n,) float32`` samples at 16 kHz."""

    kind: str
    samples: np.ndarray


def make_ambience(corpus: Corpus, split: str, seed: int = 0) -> Iterator[AmbientStream]:
    """Make the streams of a split, one for each kind and level. The same seed gives the same
    samples. Kinds without clips are left out. Raises CorpusError if the split has no ambience."""
    clips = select_ambience(corpus, split)
    if "ambience" not in clips:
        raise CorpusError(f"no ambience among the {split} clips")
    for index, kind in enumerate(SHARES):
        for row, level_db in enumerate(LEVELS_DB):
            rng = np.random.default_rng([seed, index, row])
            if kind == "quiet":
                x = np.zeros(round(QUIET_S * RATE), np.float32)
            elif kind not in clips:
                continue
            elif kind == "impulsive":
                x = _add_impulsive(corpus, clips, level_db, rng)
            else:
                x = _join_clips(corpus, clips[kind], level_db, rng)
            x += rng.standard_normal(len(x), np.float32) * np.float32(10.0 ** (FLOOR_DB / 20.0))
            yield AmbientStream(kind, np.clip(x, -1.0, 1.0))


def select_ambience(corpus: Corpus, split: str) -> dict[str, list[CorpusClip]]:
    """The clips of a split by the kinds of SHARES, in manifest order."""
    kinds: dict[str, list[CorpusClip]] = {}
    for clip in corpus.select_clips(split, "ambient", *_KINDS):
        kind = "forest" if clip.kind == "forest" else _KINDS.get(clip.category, "ambience")
        kinds.setdefault(kind, []).append(clip)
    return kinds


def _join_clips(
    corpus: Corpus, clips: Sequence[CorpusClip], level_db: float, rng: np.random.Generator
) -> np.ndarray:
    """All clips at one level in a random order, (n,) float32. A cross-fade lasts CROSSFADE_S, or a
    quarter of a shorter clip."""
    parts, tail = [], np.zeros(0, np.float32)
    for i in rng.permutation(len(clips)):
        x = _scale_to_level(corpus.read_samples(clips[i]), level_db)
        fade = min(round(CROSSFADE_S * RATE), len(x) // 4)
        ramp = np.linspace(0.0, 1.0, fade, dtype=np.float32)
        x[:fade] *= ramp
        x[len(x) - fade :] *= ramp[::-1]
        shared = min(len(tail), fade)
        x[:shared] += tail[len(tail) - shared :]
        parts += [tail[: len(tail) - shared], x[: len(x) - fade]]
        tail = x[len(x) - fade :]
    return np.concatenate([*parts, tail])


def _add_impulsive(
    corpus: Corpus, clips: dict[str, list[CorpusClip]], level_db: float, rng: np.random.Generator
) -> np.ndarray:
    """All impulsive sounds in a random order over looped ambience, (n,) float32."""
    sounds, spacing = clips["impulsive"], round(SPACING_S * RATE)
    bed = _join_clips(corpus, clips["ambience"], level_db, rng)
    x = np.take(bed, np.arange(len(sounds) * spacing), mode="wrap")
    for slot, i in enumerate(rng.permutation(len(sounds))):
        sound = corpus.read_samples(sounds[i])[: round(LONGEST_S * RATE)]
        peak_db = rng.uniform(LOWEST_PEAK_DB, HIGHEST_PEAK_DB)
        gain = 10.0 ** (peak_db / 20.0) / (float(np.max(np.abs(sound))) + 1e-9)
        x[slot * spacing : slot * spacing + len(sound)] += sound * np.float32(gain)
    return x


def _scale_to_level(x: np.ndarray, rms_db: float) -> np.ndarray:
    """Samples at an RMS level, or at a peak of 0.95 if that is lower."""
    gain = 10.0 ** (rms_db / 20.0) / (float(np.sqrt(np.mean(x**2))) + 1e-9)
    return x * np.float32(min(gain, 0.95 / (float(np.max(np.abs(x))) + 1e-9)))
