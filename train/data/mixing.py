"""Scenes mixed on the fly: real clips into real backgrounds, labelled by frame.

`Mixer(corpus, config).scene(rng)` is a pure function of the generator it is handed; the
trainer seeds one from (seed, step, row), so any scene can be made again alone.

Event-to-background ratio (EBR) as DCASE 2017 task 2 defines it: the RMS of the event over
its activity against the RMS of the background under it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from streamdet.synth import muzzle_blast
from train.data import effects
from train.data.corpus import RATE, Clip, Corpus
from train.data.labels import GUNSHOT, LABELS
from train.data.pool import Pool
from train.data.shots import DROP_DB, HOP, frame_level_db

FRAME = 4
"""10 ms frames in one frame of targets: the detector's stride."""


@dataclass(frozen=True)
class MixConfig:
    """How scenes are made; probabilities unless a unit is named."""

    scene_s: float = 8.0
    no_shot: float = 0.4
    no_negative: float = 0.25
    max_shots: int = 3
    max_negatives: int = 4
    burst: float = 0.25
    field_shot: float = 0.08
    synthetic_shot: float = 0.04
    second_bed: float = 0.35
    speech: float = 0.3
    music: float = 0.25
    quiet_bed: float = 0.12
    room: float = 0.35
    outdoor: float = 0.25
    distance: float = 0.3
    colour: float = 0.5
    varispeed: float = 0.35
    narrow_band: float = 0.12
    limiter: float = 0.15
    clipping: float = 0.08
    negative_heads: tuple[tuple[str, float], ...] = (
        ("fireworks", 0.22),
        ("impact", 0.24),
        ("impulsive", 0.28),
        ("drum", 0.12),
        ("thunder", 0.05),
        ("explosion", 0.02),
        ("ambience", 0.07),
    )


class Scene(NamedTuple):
    """``samples`` (n,) float32; ``targets`` and ``weights`` (frames, labels) float32, a
    frame being 40 ms and ending where the detector's frame of the same index ends."""

    samples: np.ndarray
    targets: np.ndarray
    weights: np.ndarray


class Sound(NamedTuple):
    """An event ready to place: samples, its activity and onsets in 10 ms frames."""

    samples: np.ndarray
    active: np.ndarray
    onsets: np.ndarray


class Mixer:
    """Makes scenes from one split of a corpus."""

    def __init__(self, corpus: Corpus, config: MixConfig, split: str = "train") -> None:
        self.corpus, self.config = corpus, config
        shots = corpus.select(split, "gunshot")
        self.near = Pool([c for c in shots if c.kind != "field"], by_label=False)
        self.field = Pool([c for c in shots if c.kind == "field" and c.located], by_label=False)
        negatives = corpus.select(split, "hard_negative", "explosion")
        self.negatives = {h: Pool([c for c in negatives if c.head == h]) for h in LABELS}
        ambient = corpus.select(split, "ambient")
        self.negatives["ambience"] = Pool(ambient)
        self.beds = self.negatives["ambience"]
        self.speech = Pool(corpus.select(split, "speech"), by_label=False)
        self.music = Pool(corpus.select(split, "music"), by_label=False)

    def scene(self, rng: np.random.Generator) -> Scene:
        """One scene of ``config.scene_s`` seconds."""
        cfg = self.config
        count = int(cfg.scene_s * RATE)
        frames = count // HOP
        targets = np.zeros((frames, len(LABELS)), np.float32)
        weights = np.ones((frames, len(LABELS)), np.float32)
        bed = self._bed(count, targets, rng)
        bed_db = frame_level_db(bed)
        scene = bed.copy()
        for _ in range(0 if rng.random() < cfg.no_shot else rng.integers(1, cfg.max_shots + 1)):
            self._place(scene, bed_db, self._shot(rng), GUNSHOT, targets, weights, rng)
        for _ in range(
            0 if rng.random() < cfg.no_negative else rng.integers(1, cfg.max_negatives + 1)
        ):
            head = self._negative_head(rng)
            sound = self._event(self.negatives[head].draw(rng), rng)
            self._place(scene, bed_db, sound, LABELS.index(head), targets, weights, rng)
        return Scene(self._recorded(scene, rng), *_by_model_frame(targets, weights))

    def _bed(self, count: int, targets: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Background layers over a noise floor, at a drawn level; marks the context heads."""
        cfg = self.config
        level_db = rng.uniform(-62.0, -22.0)
        bed = effects.coloured_noise(count, rng) * 10.0 ** (rng.uniform(-96.0, -66.0) / 20.0)
        if rng.random() < cfg.quiet_bed:
            return bed if rng.random() < 0.8 else np.zeros(count, np.float32)
        layers: list[tuple[str, Pool]] = [("ambience", self.beds)]
        if rng.random() < cfg.second_bed:
            layers.append(("ambience", self.beds))
        if rng.random() < cfg.speech:
            layers.append(("speech", self.speech))
        if rng.random() < cfg.music:
            layers.append(("music", self.music))
        if len(layers) > 1 and rng.random() < 0.3:
            layers.pop(0)
        for head, pool in layers:
            layer = self._filled(pool, count, rng)
            rms = float(np.sqrt(np.mean(layer**2))) + 1e-9
            layer *= 10.0 ** ((level_db + rng.uniform(-10.0, 3.0)) / 20.0) / rms
            level = frame_level_db(layer)
            heard = _spread(level > level.max() - 30.0, 15)
            targets[heard[: len(targets)], LABELS.index(head)] = 1.0
            bed += layer
        return bed

    def _filled(self, pool: Pool, count: int, rng: np.random.Generator) -> np.ndarray:
        """``count`` samples from one clip after another of a pool, joined by short fades."""
        out = np.zeros(count, np.float32)
        at, clip = 0, pool.draw(rng)
        while at < count:
            x = self.corpus.samples(clip)
            if len(x) > count:
                start = rng.integers(0, len(x) - count + 1)
                x = x[start : start + count]
            x = x[: count - at]
            fade = min(160, len(x) // 2)
            if fade:
                ramp = np.linspace(0.0, 1.0, fade, dtype=np.float32)
                x[:fade] *= ramp
                x[len(x) - fade :] *= ramp[::-1]
            out[at : at + len(x)] = x
            at += max(1, len(x))
            if rng.random() < 0.3:
                clip = pool.draw(rng)
        return out

    def _shot(self, rng: np.random.Generator) -> Sound:
        draw = rng.random()
        if draw < self.config.synthetic_shot:
            return self._processed(muzzle_blast(rng), np.array([0]), rng)
        if draw < self.config.synthetic_shot + self.config.field_shot and self.field:
            return self._event(self.field.draw(rng), rng)
        return self._event(self.near.draw(rng), rng)

    def _negative_head(self, rng: np.random.Generator) -> str:
        odds = {h: p for h, p in self.config.negative_heads if self.negatives[h]}
        weights = np.array(list(odds.values()))
        return list(odds)[rng.choice(len(odds), p=weights / weights.sum())]

    def _event(self, clip: Clip, rng: np.random.Generator) -> Sound:
        x = self.corpus.samples(clip)
        onsets = np.asarray(clip.onsets)
        if len(x) > 5 * RATE:
            start = max(0, int(rng.choice(onsets)) * HOP - int(rng.integers(0, RATE)))
            x = x[start : start + 5 * RATE]
            onsets = onsets - start // HOP
            onsets = onsets[(onsets >= 0) & (onsets < len(x) // HOP)]
        if clip.kind in ("field", "forest"):
            ramp = np.linspace(0.0, 1.0, min(800, len(x) // 4), dtype=np.float32)
            x[: len(ramp)] *= ramp
            x[len(x) - len(ramp) :] *= ramp[::-1]
        return self._processed(x, onsets, rng)

    def _processed(self, x: np.ndarray, onsets: np.ndarray, rng: np.random.Generator) -> Sound:
        """The same road for shots and negatives: speed, repetition, place and distance."""
        cfg = self.config
        if rng.random() < cfg.varispeed:
            ratio = float(np.exp(rng.uniform(-0.2, 0.2)))
            x, onsets = effects.varispeed(x, ratio), (onsets / ratio).astype(int)
        if len(onsets) == 1 and len(x) < 2 * RATE and rng.random() < cfg.burst:
            x, onsets = _repeated(x, int(onsets[0]), rng)
        response, shapes = None, []
        place = rng.random()
        if place < cfg.room:
            response = effects.room_response(rng)
        elif place < cfg.room + cfg.outdoor:
            response = effects.outdoor_response(rng)
        if rng.random() < cfg.distance:
            shapes.append(lambda f: effects.distance_response(f, rng))
        if rng.random() < cfg.colour:
            shapes.append(lambda f: effects.colour_response(f, rng))
        if response is not None or shapes:
            x = effects.through(x, response, shapes)
        level = frame_level_db(x)
        active = level > level.max() - DROP_DB
        onsets = np.clip(onsets, 0, len(level) - 1)
        return Sound(x, active, onsets)

    def _place(
        self,
        scene: np.ndarray,
        bed_db: np.ndarray,
        sound: Sound,
        head: int,
        targets: np.ndarray,
        weights: np.ndarray,
        rng: np.random.Generator,
    ) -> None:
        """Add a sound to the scene in place, and what it means to targets and weights."""
        frames = len(bed_db)
        at = int(rng.integers(-len(sound.active) // 4, frames - 5))
        skip, at = max(0, -at), max(0, at)
        active = sound.active[skip : skip + frames - at]
        onsets = sound.onsets[(sound.onsets >= skip) & (sound.onsets < skip + len(active))] - skip
        x = sound.samples[skip * HOP :][: (frames - at) * HOP]
        if not active.any() or not len(x):
            return
        level_db = frame_level_db(x)[: len(active)]
        event_db = 10.0 * np.log10(np.mean(10.0 ** (level_db[active] / 10.0)) + 1e-12)
        under = bed_db[at : at + len(active)][active]
        floor_db = max(10.0 * np.log10(np.mean(10.0 ** (under / 10.0)) + 1e-12), -90.0)
        ebr_db = _draw_ebr(rng)
        gain_db = min(floor_db + ebr_db, -6.0) - event_db
        scene[at * HOP : at * HOP + len(x)] += x * np.float32(10.0 ** (gain_db / 20.0))
        above = level_db + gain_db - bed_db[at : at + len(active)]
        sure = _after(onsets, len(active), 50) & active
        region = slice(at, at + len(active))
        heard = sure & (above > -12.0)
        targets[region, head] = np.maximum(targets[region, head], heard)
        open_question = active & ~heard & (targets[region, head] == 0.0)
        weights[region, head] = np.where(open_question, 0.0, weights[region, head])
        weights[region, head] = np.where(heard, 1.0, weights[region, head])
        if LABELS[head] == "explosion":
            weights[region, GUNSHOT] = np.where(
                active & (targets[region, GUNSHOT] == 0.0), 0.0, weights[region, GUNSHOT]
            )

    def _recorded(self, x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """The recorder: its response, its limiter, its level, its clipping, its 16 bits."""
        cfg = self.config
        shapes = []
        if rng.random() < 0.4:
            corner = rng.uniform(20.0, 250.0)
            shapes.append(lambda f: effects.high_pass_response(f, corner))
        if rng.random() < cfg.narrow_band:
            edge = float(rng.choice([3_400.0, 3_900.0, 3_900.0, 5_400.0]))
            shapes.append(lambda f: effects.low_pass_response(f, edge, 16))
        elif rng.random() < 0.3:
            shapes.append(lambda f: effects.colour_response(f, rng))
        if shapes:
            x = effects.through(x, None, shapes)
        if rng.random() < cfg.limiter:
            x = effects.soft_limit(x, rng.uniform(0.0, 18.0))
        peak = float(np.max(np.abs(x))) + 1e-9
        x = x * np.float32(10.0 ** (rng.uniform(-40.0, 0.0) / 20.0) / peak)
        if rng.random() < cfg.clipping:
            x = np.clip(x * 10.0 ** (rng.uniform(0.0, 15.0) / 20.0), -0.99, 0.99)
        return (np.round(np.clip(x, -1.0, 1.0) * 32767.0) / 32768.0).astype(np.float32)


def _draw_ebr(rng: np.random.Generator) -> float:
    """Event-to-background ratio in dB: mostly hard, sometimes clean, up to 60."""
    draw = rng.random()
    if draw < 0.6:
        return rng.uniform(-8.0, 14.0)
    return rng.uniform(14.0, 30.0) if draw < 0.85 else rng.uniform(30.0, 60.0)


def _repeated(x: np.ndarray, onset: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A burst of 2 to 12 of one sound, 60 to 500 ms apart, each a little different."""
    count = int(rng.integers(2, 13))
    gap = int(rng.uniform(0.06, 0.5) * 100)
    gaps = np.maximum(5, gap + rng.integers(-2, 3, count - 1))
    starts = np.concatenate([[0], np.cumsum(gaps)])
    starts = starts[starts < 350]
    out = np.zeros(int(starts[-1]) * HOP + len(x), np.float32)
    for start in starts:
        gain = np.float32(10.0 ** (rng.uniform(-2.0, 0.0) / 20.0))
        out[start * HOP : start * HOP + len(x)] += x * gain
    return out, starts + onset


def _after(onsets: np.ndarray, frames: int, reach: int) -> np.ndarray:
    """(frames,) bool: within ``reach`` frames from an onset on."""
    inside = np.zeros(frames, bool)
    for onset in onsets:
        inside[onset : onset + reach] = True
    return inside


def _spread(mask: np.ndarray, reach: int) -> np.ndarray:
    return np.convolve(mask.astype(np.float32), np.ones(2 * reach + 1), "same") > 0.0


def _by_model_frame(targets: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """10 ms rows to 40 ms rows: a target where any is, a weight where none is in question."""
    frames = len(targets) // FRAME
    t = targets[: frames * FRAME].reshape(frames, FRAME, -1).max(axis=1)
    w = weights[: frames * FRAME].reshape(frames, FRAME, -1)
    return t, np.where(t > 0.0, w.max(axis=1), w.min(axis=1)).astype(np.float32)
