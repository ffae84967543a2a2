"""The background of a scene: layers of ambience, speech and music, or a recording of shots."""

from __future__ import annotations

from collections import defaultdict
from functools import partial

import numpy as np

from streamdet.constants import RATE
from train.data import effects
from train.data.config import MixConfig
from train.data.corpus import Corpus, CorpusClip
from train.data.effects import HOP
from train.data.labels import GUNSHOT, LABELS
from train.data.pool import ClipPool, OwnSharePool
from train.data.scene import SceneDraft, mark_after
from train.data.shots import compute_level_db

FADE = 160
"""Samples of the fades between clips: 10 ms."""
SHORTEST_QUIET = 30
"""10 ms frames before a recording's first shot; with fewer, its background is not known."""
BEFORE_SHOT = 5
"""10 ms frames before a measured onset that may belong to the shot."""
FAR_REACH, FAR_DECAY = 40, 300
"""10 ms frames from a far onset on that are labelled, and that may hold its echoes."""


class Beds:
    """Draws backgrounds from one split of a corpus. ``ambience`` is the pool of ambiences."""

    def __init__(
        self, corpus: Corpus, config: MixConfig, split: str, ambience: OwnSharePool
    ) -> None:
        self._corpus, self._config, self._ambience = corpus, config, ambience
        pool = partial(OwnSharePool, share=config.own_share, by_label=False)
        self._speech = pool(corpus.select_clips(split, "speech"))
        self._music = pool(corpus.select_clips(split, "music"))
        recorded = [
            c
            for c in corpus.select_clips(split, "gunshot")
            if c.measured and c.onsets[0] >= SHORTEST_QUIET + BEFORE_SHOT
        ]
        self._recorded = ClipPool(recorded, by_label=False)
        self._of_group: dict[str, list[CorpusClip]] = defaultdict(list)
        for clip in recorded:
            self._of_group[clip.group].append(clip)

    def add_bed(self, draft: SceneDraft, rng: np.random.Generator) -> None:
        """Add a background to an empty scene and mark its labels."""
        if self._recorded and rng.random() < self._config.recorded_scene:
            self._add_recording(draft, rng)
        else:
            self._add_layers(draft, rng)

    def _add_recording(self, draft: SceneDraft, rng: np.random.Generator) -> None:
        """Add a field recording of shots, in the background that it has before its first shot.

        That background is continued by those of other recordings of the group, at its level.
        """
        clip = self._recorded.draw(rng)
        x, onsets = self._corpus.read_samples(clip), np.array(clip.onsets)
        count, frames = len(draft.samples), len(draft.targets)
        rms = _compute_rms(x[: (clip.onsets[0] - BEFORE_SHOT) * HOP])
        bed = np.zeros(count, np.float32)
        position = 0
        while position < count:
            quiet = self._read_quiet(clip, rng)
            quiet *= np.float32(min(rms / (_compute_rms(quiet) + 1e-9), 30.0))
            _fade_ends(quiet)
            part = quiet[: count - position]
            bed[position : position + len(part)] += part
            position += max(1, len(quiet) - FADE)
        start = int(rng.integers(-min(clip.onsets[0] // 2, 50), max(1, frames - len(x) // HOP + 1)))
        if len(x) // HOP > frames:
            start = -int(rng.integers(0, max(1, clip.onsets[0] - 10)))
        skip = max(0, -start)
        x, onsets, start = x[skip * HOP :].copy(), onsets - skip, max(0, start)
        _fade_ends(x)
        x = x[: count - start * HOP]
        bed[start * HOP : start * HOP + len(x)] *= 1.0 - _make_window(len(x))
        bed[start * HOP : start * HOP + len(x)] += x
        gain = 10.0 ** (rng.uniform(-62.0, -22.0) / 20.0) / (_compute_rms(bed) + 1e-9)
        draft.samples[:] = bed * np.float32(gain)
        onsets = onsets + start
        shot = mark_after(onsets, frames, FAR_REACH)
        uncertain = mark_after(onsets - BEFORE_SHOT, frames, BEFORE_SHOT + FAR_DECAY) & ~shot
        draft.targets[:, LABELS.index("ambience")] = 1.0
        draft.targets[shot, GUNSHOT] = 1.0
        draft.weights[uncertain] = 0.0

    def _read_quiet(self, clip: CorpusClip, rng: np.random.Generator) -> np.ndarray:
        """The samples before the first shot of a random recording of a clip's group."""
        others = self._of_group[clip.group]
        other = others[rng.integers(len(others))]
        return self._corpus.read_samples(other, 0, (other.onsets[0] - BEFORE_SHOT) * HOP)

    def _add_layers(self, draft: SceneDraft, rng: np.random.Generator) -> None:
        """Add background layers over a noise floor."""
        cfg, bed = self._config, draft.samples
        level_db = rng.uniform(-62.0, -22.0)
        floor_db = rng.uniform(-96.0, -66.0)
        floor_gain = np.float32(10.0 ** (floor_db / 20.0))
        if rng.random() < cfg.quiet_bed:
            if rng.random() < 0.8:
                bed += effects.draw_coloured_noise(len(bed), rng) * floor_gain
            return
        bed += effects.draw_coloured_noise(len(bed), rng) * floor_gain
        layers: list[tuple[str, OwnSharePool]] = [("ambience", self._ambience)]
        if rng.random() < cfg.second_bed:
            layers.append(("ambience", self._ambience))
        if rng.random() < cfg.speech:
            layers.append(("speech", self._speech))
        if rng.random() < cfg.music:
            layers.append(("music", self._music))
        if len(layers) > 1 and rng.random() < 0.3:
            layers.pop(0)
        for head, pool in layers:
            if not pool:
                continue
            layer = self._fill_layer(pool, draft, rng)
            rms = _compute_rms(layer) + 1e-9
            layer *= np.float32(10.0 ** ((level_db + rng.uniform(-10.0, 3.0)) / 20.0) / rms)
            level = compute_level_db(layer)
            audible = _widen(level > level.max() - 30.0, 15)
            draft.targets[audible[: len(draft.targets)], LABELS.index(head)] = 1.0
            bed += layer

    def _fill_layer(
        self, pool: OwnSharePool, draft: SceneDraft, rng: np.random.Generator
    ) -> np.ndarray:
        """Clips of a pool, one after another with short fades, over the length of the scene."""
        count = len(draft.samples)
        out = np.zeros(count, np.float32)
        position, clip = 0, pool.draw(rng)
        while position < count:
            start = int(rng.integers(0, max(0, clip.length - count) + 1))
            x = self._corpus.read_samples(clip, start, min(count - position, clip.length - start))
            _fade_ends(x)
            out[position : position + len(x)] = x
            seconds = np.array([position, start, len(x)]) / RATE
            draft.teacher.add_clip(self._corpus.teacher.read_scores(clip.index), *seconds)
            position += max(1, len(x))
            if rng.random() < 0.3:
                clip = pool.draw(rng)
        return out


def _fade_ends(x: np.ndarray) -> None:
    x *= _make_window(len(x))


def _make_window(count: int) -> np.ndarray:
    """Ones with 10 ms ramps at both ends, (count,) float32."""
    window = np.ones(count, np.float32)
    fade = min(FADE, count // 2)
    if fade:
        ramp = np.linspace(0.0, 1.0, fade, dtype=np.float32)
        window[:fade] = ramp
        window[count - fade :] = ramp[::-1]
    return window


def _compute_rms(x: np.ndarray) -> float:
    return float(np.sqrt(np.mean(x**2)))


def _widen(mask: np.ndarray, reach: int) -> np.ndarray:
    return np.convolve(mask.astype(np.float32), np.ones(2 * reach + 1), "same") > 0.0
