"""Scenes mixed on the fly: real clips into real backgrounds, labelled by frame.

`Mixer(corpus, config).scene(rng)` is a pure function of the generator it is handed; the
trainer seeds one from (seed, step, row), so any scene can be made again alone.

Event-to-background ratio (EBR) as DCASE 2017 task 2 defines it: the RMS of the event over
its activity against the RMS of the background under it.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import NamedTuple

import numpy as np

from streamdet.constants import RATE
from streamdet.synth import muzzle_blast
from train.data import effects, sounds
from train.data.config import MixConfig
from train.data.corpus import Corpus, CorpusClip, CorpusError
from train.data.effects import HOP
from train.data.labels import CONTEXT, GUNSHOT, LABELS
from train.data.pool import OwnSharePool, WeightedPool
from train.data.recorder import simulate_recorder
from train.data.shots import compute_level_db
from train.data.sounds import SceneSound
from train.data.strikes import synthesise_strike
from train.data.teacher import TeacherTrack

FRAME = 4
"""10 ms frames in one frame of targets: the detector's stride."""
REACH = 50
"""10 ms frames from an onset on in which a shot is a shot; its later decay counts neither way."""


DECAY, MARGIN = 200, 5
"""10 ms frames behind and before an onset beyond which a shot's clip is but its noise."""


class Scene(NamedTuple):
    """``samples`` (n,) float32; ``targets`` and ``weights`` (frames, labels) and ``bag``
    (frames,) float32, a frame being 40 ms and ending where the detector's frame of the same
    index ends; ``teacher`` (windows, classes) float32, one every 0.48 s.

    Somewhere in the frames of ``bag``, where there are any, a shot is heard.
    """

    samples: np.ndarray
    targets: np.ndarray
    weights: np.ndarray
    bag: np.ndarray
    teacher: np.ndarray


class _SceneDraft(NamedTuple):
    """A scene in the making, in 10 ms frames."""

    samples: np.ndarray
    targets: np.ndarray
    weights: np.ndarray
    bag: np.ndarray
    teacher: TeacherTrack


class Mixer:
    """Makes scenes from one split of a corpus.

    ``mined`` weighs clips, by path, that the model of the moment takes for shots.
    """

    def __init__(
        self,
        corpus: Corpus,
        config: MixConfig,
        split: str = "train",
        mined: Mapping[str, float] | None = None,
    ) -> None:
        self.corpus, self.config = corpus, config
        shots = corpus.select_clips(split, "gunshot")
        pool = partial(OwnSharePool, share=config.own_share)
        self.near = pool([c for c in shots if c.kind != "field"], by_label=False)
        self.field = pool([c for c in shots if c.kind == "field" and c.located], by_label=False)
        self.weak = pool([c for c in shots if not c.located], by_label=False)
        others = corpus.select_clips(
            split, "hard_negative", "explosion", "ambient", "speech", "music"
        )
        self.negatives = {h: pool([c for c in others if c.head == h]) for h in LABELS}
        self.mined = WeightedPool(others, mined or {})
        self.beds = self.negatives["ambience"]
        self.speech = pool(corpus.select_clips(split, "speech"), by_label=False)
        self.music = pool(corpus.select_clips(split, "music"), by_label=False)
        heads = [(h, p) for h, p in config.negative_heads if self.negatives[h]]
        if config.own_share == 1.0 and any(c.own for c in others):
            heads = [(h, p) for h, p in heads if self.negatives[h].has_own]
        if not (self.near or self.field) or not heads:
            missing = "gunshot" if heads else "other sound"
            raise CorpusError(f"no {missing} among the {split} clips, which scenes are made of")
        self._heads = [h for h, _ in heads]
        odds = np.array([p for _, p in heads])
        self._head_odds = odds / odds.sum()
        self._ebr_odds = np.array([p for p, _, _ in config.ebr_db])

    def make_scene(self, rng: np.random.Generator) -> Scene:
        """One scene of ``config.scene_s`` seconds."""
        cfg = self.config
        count = int(cfg.scene_s * RATE)
        frames = count // HOP
        canvas = _SceneDraft(
            np.zeros(count, np.float32),
            np.zeros((frames, len(LABELS)), np.float32),
            np.ones((frames, len(LABELS)), np.float32),
            np.zeros(frames, np.float32),
            TeacherTrack(cfg.scene_s, len(self.corpus.teacher.classes)),
        )
        self._add_bed(canvas, rng)
        bed_db = compute_level_db(canvas.samples)
        for _ in range(0 if rng.random() < cfg.no_shot else rng.integers(1, cfg.max_shots + 1)):
            shot = self._layer_second(self._draw_shot(rng), self.near, rng)
            self._place_sound(canvas, bed_db, shot, GUNSHOT, rng)
        none = rng.random() < cfg.no_negative
        for _ in range(0 if none else rng.integers(1, cfg.max_negatives + 1)):
            self._place_sound(canvas, bed_db, *self._draw_other(rng), rng)
        samples = simulate_recorder(cfg, canvas.samples, rng)
        targets, weights = _pool_to_model_frames(canvas.targets, canvas.weights)
        bag = canvas.bag[: len(targets) * FRAME].reshape(-1, FRAME).max(axis=1)
        return Scene(samples, targets, weights, bag, canvas.teacher.rows)

    def _add_bed(self, canvas: _SceneDraft, rng: np.random.Generator) -> None:
        """Background layers over a noise floor, at a drawn level; marks the context heads."""
        cfg, bed = self.config, canvas.samples
        level_db = rng.uniform(-62.0, -22.0)
        floor_db = rng.uniform(-96.0, -66.0)
        if rng.random() < cfg.quiet_bed:
            if rng.random() < 0.8:
                bed += effects.draw_coloured_noise(len(bed), rng) * np.float32(
                    10.0 ** (floor_db / 20.0)
                )
            return
        bed += effects.draw_coloured_noise(len(bed), rng) * np.float32(10.0 ** (floor_db / 20.0))
        layers: list[tuple[str, OwnSharePool]] = [("ambience", self.beds)]
        if rng.random() < cfg.second_bed:
            layers.append(("ambience", self.beds))
        if rng.random() < cfg.speech:
            layers.append(("speech", self.speech))
        if rng.random() < cfg.music:
            layers.append(("music", self.music))
        if len(layers) > 1 and rng.random() < 0.3:
            layers.pop(0)
        for head, pool in layers:
            if not pool:
                continue
            layer = self._fill_layer(pool, canvas, rng)
            rms = float(np.sqrt(np.mean(layer**2))) + 1e-9
            layer *= np.float32(10.0 ** ((level_db + rng.uniform(-10.0, 3.0)) / 20.0) / rms)
            level = compute_level_db(layer)
            heard = _widen(level > level.max() - 30.0, 15)
            canvas.targets[heard[: len(canvas.targets)], LABELS.index(head)] = 1.0
            bed += layer

    def _fill_layer(
        self, pool: OwnSharePool, canvas: _SceneDraft, rng: np.random.Generator
    ) -> np.ndarray:
        """A scene's length of one clip after another of a pool, joined by short fades."""
        count = len(canvas.samples)
        out = np.zeros(count, np.float32)
        at, clip = 0, pool.draw(rng)
        while at < count:
            start = int(rng.integers(0, max(0, clip.length - count) + 1))
            x = self.corpus.read_samples(clip, start, min(count - at, clip.length - start))
            fade = min(160, len(x) // 2)
            if fade:
                ramp = np.linspace(0.0, 1.0, fade, dtype=np.float32)
                x[:fade] *= ramp
                x[len(x) - fade :] *= ramp[::-1]
            out[at : at + len(x)] = x
            seconds = np.array([at, start, len(x)]) / RATE
            canvas.teacher.add_clip(self.corpus.teacher.read_scores(clip.index), *seconds)
            at += max(1, len(x))
            if rng.random() < 0.3:
                clip = pool.draw(rng)
        return out

    def _draw_shot(self, rng: np.random.Generator) -> SceneSound:
        cfg, draw = self.config, rng.random()
        if draw < cfg.synthetic_shot:
            return self._process_synthetic(muzzle_blast(rng), rng)
        draw -= cfg.synthetic_shot
        if draw < cfg.field_shot and self.field:
            return self._process_clip(self.field.draw(rng), rng)
        draw -= cfg.field_shot
        if 0.0 <= draw < cfg.weak_shot and self.weak:
            return self._process_clip(self.weak.draw(rng), rng)
        return self._process_clip((self.near or self.field).draw(rng), rng)

    def _draw_other(self, rng: np.random.Generator) -> tuple[SceneSound, int]:
        """A sound that is no shot, and its label's index."""
        if rng.random() < self.config.synthetic_strike:
            return self._process_synthetic(synthesise_strike(rng), rng), LABELS.index("impact")
        clip = self._draw_negative_clip(rng)
        sound = self._layer_second(self._process_clip(clip, rng), self.negatives[clip.head], rng)
        return sound, LABELS.index(clip.head)

    def _process_synthetic(self, x: np.ndarray, rng: np.random.Generator) -> SceneSound:
        x, onsets = sounds.process_sound(self.config, x, np.array([0]), rng, repeat=True)
        return SceneSound(x, sounds.find_activity(x), onsets, np.zeros((0, 0), np.float32), True)

    def _layer_second(
        self, sound: SceneSound, pool: OwnSharePool, rng: np.random.Generator
    ) -> SceneSound:
        if not pool or not sound.reliable or rng.random() >= self.config.layered:
            return sound
        other = self._process_clip(pool.draw(rng), rng)
        both = other.reliable and len(sound.onsets) and len(other.onsets)
        return sounds.layer_sounds(sound, other, rng) if both else sound

    def _draw_negative_clip(self, rng: np.random.Generator) -> CorpusClip:
        if self.mined and rng.random() < self.config.mined_share:
            return self.mined.draw(rng)
        head = self._heads[rng.choice(len(self._heads), p=self._head_odds)]
        return self.negatives[head].draw(rng)

    def _process_clip(self, clip: CorpusClip, rng: np.random.Generator) -> SceneSound:
        x, onsets = self.corpus.read_samples(clip), np.asarray(clip.onsets)
        if clip.head in CONTEXT and rng.random() < self.config.cut:
            x, onsets, start = sounds.cut_single_rise(x, onsets, rng)
        else:
            x, onsets, start = sounds.cut_excerpt(x, onsets, rng)
        if clip.kind in ("field", "forest"):
            x = sounds.fade_ends(x)
        elif len(onsets) == 1 and clip.head not in CONTEXT:
            x = self._reshape(x, int(onsets[0]), clip, rng)
        negative = clip.head not in ("gunshot", "explosion", "speech", "music")
        if negative and rng.random() < self.config.machinery:
            x, onsets = sounds.make_machinery(x, int(onsets[0]) if len(onsets) else 0, rng)
        x, onsets = sounds.process_sound(self.config, x, onsets, rng, repeat=clip.located)
        active = sounds.find_activity(x)
        opinions = self.corpus.teacher.read_scores(clip.index)[round(start / RATE / 0.48) :]
        return SceneSound(x, active, np.clip(onsets, 0, len(active) - 1), opinions, clip.located)

    def _reshape(
        self, x: np.ndarray, onset: int, clip: CorpusClip, rng: np.random.Generator
    ) -> np.ndarray:
        """A sound of one onset with another's tail or less of its own, at the config's odds: a
        shot with a shot's, what is none with the tail of any that is none."""
        if rng.random() < self.config.spliced:
            other = self.near.draw(rng) if clip.head == "gunshot" else self._draw_negative_clip(rng)
            if other.onsets:
                theirs = self.corpus.read_samples(other, 0, min(other.length, 20 * RATE))
                x = sounds.splice_tail(x, onset, theirs, other.onsets[0], rng)
        return sounds.shorten_decay(x, onset, rng) if rng.random() < self.config.dried else x

    def _place_sound(
        self,
        canvas: _SceneDraft,
        bed_db: np.ndarray,
        sound: SceneSound,
        head: int,
        rng: np.random.Generator,
    ) -> None:
        """Add a sound to the canvas, and what it means to targets and weights."""
        frames = len(bed_db)
        at = int(rng.integers(-len(sound.active) // 4, frames - 5))
        at = 0 if rng.random() < self.config.at_start else at
        skip, at = max(0, -at), max(0, at)
        active = sound.active[skip : skip + frames - at]
        onsets = sound.onsets[(sound.onsets >= skip) & (sound.onsets < skip + len(active))] - skip
        x = sound.samples[skip * HOP :][: (frames - at) * HOP]
        if not active.any() or not len(x):
            return
        level_db = compute_level_db(x)[: len(active)]
        event_db = 10.0 * np.log10(np.mean(10.0 ** (level_db[active] / 10.0)) + 1e-12)
        under = bed_db[at : at + len(active)][active]
        floor_db = max(10.0 * np.log10(np.mean(10.0 ** (under / 10.0)) + 1e-12), -90.0)
        _, lowest, highest = self.config.ebr_db[rng.choice(len(self._ebr_odds), p=self._ebr_odds)]
        ebr_db = rng.uniform(lowest, highest)
        gain_db = min(floor_db + ebr_db, -6.0) - event_db
        canvas.samples[at * HOP : at * HOP + len(x)] += x * np.float32(10.0 ** (gain_db / 20.0))
        if ebr_db > 0.0:
            seconds = (at / 100, skip / 100, len(x) / RATE)
            canvas.teacher.add_clip(sound.teacher, *seconds)
        region, targets, weights = slice(at, at + len(active)), canvas.targets, canvas.weights
        if not sound.reliable:
            weights[region, head] *= targets[region, head]
            canvas.bag[region] = ebr_db > -6.0
            return
        above = level_db + gain_db - bed_db[at : at + len(active)]
        heard = _mark_after(onsets, len(active), REACH) & active & (above > -12.0)
        targets[region, head] = np.maximum(targets[region, head], heard)
        open_question = active & ~heard & (targets[region, head] == 0.0)
        if head == GUNSHOT:
            open_question &= _mark_after(onsets - MARGIN, len(active), MARGIN + DECAY)
        weights[region, head] = np.where(open_question, 0.0, weights[region, head])
        weights[region, head] = np.where(heard, 1.0, weights[region, head])
        if LABELS[head] == "explosion":
            weights[region, GUNSHOT] = np.where(
                active & (targets[region, GUNSHOT] == 0.0), 0.0, weights[region, GUNSHOT]
            )


def _mark_after(onsets: np.ndarray, frames: int, reach: int) -> np.ndarray:
    """(frames,) bool: within ``reach`` frames from an onset on."""
    inside = np.zeros(frames, bool)
    for onset in onsets:
        inside[max(0, onset) : max(0, onset + reach)] = True
    return inside


def _widen(mask: np.ndarray, reach: int) -> np.ndarray:
    return np.convolve(mask.astype(np.float32), np.ones(2 * reach + 1), "same") > 0.0


def _pool_to_model_frames(
    targets: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """10 ms rows to 40 ms rows: a target where any is, a weight where none is in question."""
    frames = len(targets) // FRAME
    t = targets[: frames * FRAME].reshape(frames, FRAME, -1).max(axis=1)
    w = weights[: frames * FRAME].reshape(frames, FRAME, -1)
    return t, np.where(t > 0.0, w.max(axis=1), w.min(axis=1)).astype(np.float32)
