"""Mix scenes on the fly: real clips over real backgrounds, labelled by frame.

`Mixer.make_scene(rng)` depends only on the generator it is given. The training loop seeds one from
(seed, step, row), so any scene can be made again on its own.

The event-to-background ratio (EBR) is that of DCASE 2017 task 2: the RMS of the event over its
activity against the RMS of the background under it.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np

from streamdet.constants import RATE
from streamdet.synth import muzzle_blast
from train.data import sounds
from train.data.beds import Beds
from train.data.config import MixConfig
from train.data.corpus import Corpus, CorpusClip, CorpusError
from train.data.effects import HOP
from train.data.labels import CONTEXT, GUNSHOT, LABELS
from train.data.pool import OwnSharePool, WeightedPool
from train.data.recorder import simulate_recorder
from train.data.scene import (
    FRAME,
    Scene,
    SceneDraft,
    mark_after,
    pool_to_model_frames,
    silence_part,
)
from train.data.shots import compute_level_db
from train.data.sounds import SceneSound
from train.data.strikes import synthesise_strike
from train.data.teacher import HOP_S, TeacherTrack

REACH = 50
"""10 ms frames from an onset on that are labelled; the rest of the decay has weight 0."""
DECAY, MARGIN = 200, 5
"""10 ms frames after and before an onset that may belong to a shot; the rest of its clip is
noise."""
LONGEST_TAIL_S = 20
"""Seconds of another sound that are read to take its tail."""


class Mixer:
    """Makes scenes from one split of a corpus.

    ``mined`` gives weights to clips, by path, that the current model mistakes for shots. ``frame``
    is the number of samples in a frame of the model: the frontend's hop times the model's stride.
    Raises CorpusError for a frame that is not a multiple of 10 ms, and if the split has no shots
    or no other sounds.
    """

    def __init__(
        self,
        corpus: Corpus,
        config: MixConfig,
        split: str = "train",
        mined: Mapping[str, float] | None = None,
        frame: int = FRAME,
    ) -> None:
        if frame <= 0 or frame % HOP:
            raise CorpusError(
                f"scenes are labelled in steps of {HOP} samples, but a frame of the model has "
                f"{frame}. Choose a hop and a stride whose product is a multiple of {HOP}."
            )
        self.corpus, self.config, self._stride = corpus, config, frame // HOP
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
        self._beds = Beds(corpus, config, split, self.negatives["ambience"])
        heads = [(h, p) for h, p in config.negative_heads if self.negatives[h]]
        if config.own_share == 1.0 and any(c.own for c in others):
            heads = [(h, p) for h, p in heads if self.negatives[h].has_own]
        if not (self.near or self.field) or not heads:
            missing = "gunshot" if heads else "other sound"
            raise CorpusError(f"no {missing} among the {split} clips; scenes need both")
        self._heads = [h for h, _ in heads]
        odds = np.array([p for _, p in heads])
        self._head_odds = odds / odds.sum()
        self._ebr_odds = np.array([p for p, _, _ in config.ebr_db])

    def make_scene(self, rng: np.random.Generator) -> Scene:
        """Make one scene of ``config.scene_s`` seconds."""
        cfg = self.config
        count = int(cfg.scene_s * RATE)
        frames = count // HOP
        draft = SceneDraft(
            np.zeros(count, np.float32),
            np.zeros((frames, len(LABELS)), np.float32),
            np.ones((frames, len(LABELS)), np.float32),
            np.zeros(frames, np.float32),
            TeacherTrack(cfg.scene_s, len(self.corpus.teacher.classes)),
        )
        self._beds.add_bed(draft, rng)
        bed_db = compute_level_db(draft.samples)
        for _ in range(0 if rng.random() < cfg.no_shot else rng.integers(1, cfg.max_shots + 1)):
            shot = self._layer_second(self._draw_shot(rng), self.near, rng)
            self._place_sound(draft, bed_db, shot, GUNSHOT, rng)
        no_negative = rng.random() < cfg.no_negative
        for _ in range(0 if no_negative else rng.integers(1, cfg.max_negatives + 1)):
            self._place_sound(draft, bed_db, *self._draw_other(rng), rng)
        samples = simulate_recorder(cfg, draft.samples, rng)
        if rng.random() < cfg.digital_silence:
            samples = silence_part(draft, samples, rng)
        targets, weights = pool_to_model_frames(draft.targets, draft.weights, self._stride)
        bag = draft.bag[: len(targets) * self._stride].reshape(-1, self._stride).max(axis=1)
        no_posterior, no_features = np.zeros(0, np.float32), np.zeros((0, 0), np.float32)
        return Scene(samples, targets, weights, bag, draft.teacher.rows, no_posterior, no_features)

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
        """A sound that is not a shot, and the index of its label."""
        if rng.random() < self.config.synthetic_strike:
            return self._process_synthetic(synthesise_strike(rng), rng), LABELS.index("impact")
        clip = self.draw_negative_clip(rng)
        sound = self._layer_second(self._process_clip(clip, rng), self.negatives[clip.head], rng)
        return sound, LABELS.index(clip.head)

    def _process_synthetic(self, x: np.ndarray, rng: np.random.Generator) -> SceneSound:
        x, onsets = sounds.process_sound(self.config, x, np.array([0]), rng, repeat=True)
        no_scores = np.zeros((0, 0), np.float32)
        return SceneSound(x, sounds.find_activity(x), onsets, no_scores, True)

    def _layer_second(
        self, sound: SceneSound, pool: OwnSharePool, rng: np.random.Generator
    ) -> SceneSound:
        if not pool or not sound.reliable or rng.random() >= self.config.layered:
            return sound
        other = self._process_clip(pool.draw(rng), rng)
        both = other.reliable and len(sound.onsets) and len(other.onsets)
        return sounds.layer_sounds(sound, other, rng) if both else sound

    def draw_negative_clip(self, rng: np.random.Generator) -> CorpusClip:
        """Draw a clip of a sound that is not a shot: a mined one, or one of a random head."""
        if self.mined and rng.random() < self.config.mined_share:
            return self.mined.draw(rng)
        head = self._heads[rng.choice(len(self._heads), p=self._head_odds)]
        return self.negatives[head].draw(rng)

    def _process_clip(self, clip: CorpusClip, rng: np.random.Generator) -> SceneSound:
        x, onsets = self.corpus.read_samples(clip), np.asarray(clip.onsets)
        if clip.head in CONTEXT and rng.random() < self.config.cut:
            x, onsets, start = sounds.cut_single_rise(x, onsets, rng)
        else:
            x, onsets, start = sounds.cut_excerpt(x, onsets, rng, first=clip.measured)
        if clip.kind in ("field", "forest"):
            x = sounds.fade_ends(x)
        elif len(onsets) == 1 and clip.head not in CONTEXT:
            x = self._reshape_tail(x, int(onsets[0]), clip, rng)
        negative = clip.head not in ("gunshot", "explosion", "speech", "music")
        if negative and rng.random() < self.config.machinery:
            x, onsets = sounds.make_machinery(x, int(onsets[0]) if len(onsets) else 0, rng)
        x, onsets = sounds.process_sound(self.config, x, onsets, rng, repeat=clip.located)
        active = sounds.find_activity(x)
        scores = self.corpus.teacher.read_scores(clip.index)[round(start / RATE / HOP_S) :]
        return SceneSound(x, active, np.clip(onsets, 0, len(active) - 1), scores, clip.located)

    def _reshape_tail(
        self, x: np.ndarray, onset: int, clip: CorpusClip, rng: np.random.Generator
    ) -> np.ndarray:
        """Replace or shorten the tail of a sound with one onset, as often as the config says.

        A shot gets the tail of another shot; other sounds get the tail of a sound that is not one.
        """
        if rng.random() < self.config.spliced:
            other = self.near.draw(rng) if clip.head == "gunshot" else self.draw_negative_clip(rng)
            if other.onsets:
                length = min(other.length, LONGEST_TAIL_S * RATE)
                tail = self.corpus.read_samples(other, 0, length)
                x = sounds.splice_tail(x, onset, tail, other.onsets[0], rng)
        return sounds.shorten_decay(x, onset, rng) if rng.random() < self.config.dried else x

    def _place_sound(
        self,
        draft: SceneDraft,
        bed_db: np.ndarray,
        sound: SceneSound,
        head: int,
        rng: np.random.Generator,
    ) -> None:
        """Add a sound to the scene and to its targets and weights."""
        frames = len(bed_db)
        position = int(rng.integers(-len(sound.active) // 4, frames - 5))
        position = 0 if rng.random() < self.config.at_start else position
        skip, first = max(0, -position), max(0, position)
        active = sound.active[skip : skip + frames - first]
        all_onsets = sound.onsets - skip
        onsets = all_onsets[(all_onsets >= 0) & (all_onsets < len(active))]
        x = sound.samples[skip * HOP :][: (frames - first) * HOP]
        if not active.any() or not len(x):
            return
        region = slice(first, first + len(active))
        level_db = compute_level_db(x)[: len(active)]
        event_db = 10.0 * np.log10(np.mean(10.0 ** (level_db[active] / 10.0)) + 1e-12)
        under = bed_db[region][active]
        floor_db = max(10.0 * np.log10(np.mean(10.0 ** (under / 10.0)) + 1e-12), -90.0)
        _, lowest, highest = self.config.ebr_db[rng.choice(len(self._ebr_odds), p=self._ebr_odds)]
        ebr_db = rng.uniform(lowest, highest)
        gain_db = min(floor_db + ebr_db, -6.0) - event_db
        gain = np.float32(10.0 ** (gain_db / 20.0))
        draft.samples[first * HOP : first * HOP + len(x)] += x * gain
        if ebr_db > 0.0:
            seconds = (first / 100, skip / 100, len(x) / RATE)
            draft.teacher.add_clip(sound.teacher, *seconds)
        targets, weights = draft.targets, draft.weights
        if not sound.reliable:
            weights[region, head] *= targets[region, head]
            draft.bag[region] = ebr_db > -6.0
            return
        over_bed_db = level_db + gain_db - bed_db[region]
        audible = mark_after(onsets, len(active), REACH) & active & (over_bed_db > -12.0)
        targets[region, head] = np.maximum(targets[region, head], audible)
        uncertain = active & ~audible & (targets[region, head] == 0.0)
        if head == GUNSHOT:
            uncertain &= mark_after(all_onsets - MARGIN, len(active), MARGIN + DECAY)
        weights[region, head] = np.where(uncertain, 0.0, weights[region, head])
        weights[region, head] = np.where(audible, 1.0, weights[region, head])
        if LABELS[head] == "explosion":
            weights[region, GUNSHOT] = np.where(
                active & (targets[region, GUNSHOT] == 0.0), 0.0, weights[region, GUNSHOT]
            )
