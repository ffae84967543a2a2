"""Hard-negative mining: find the clips without a shot that the current weights mistake for one.

Scores the whole train pool of other sounds, each clip alone from a cold state. The weight of a
clip is the square of its highest gunshot probability, so that the mixer draws most where the
model is most wrong (after Shrivastava et al., *Training Region-based Object Detectors with
Online Hard Example Mining*, CVPR 2016).
"""

from __future__ import annotations

from collections import defaultdict
from typing import cast

import numpy as np

from streamdet.model.bundle import Bundle
from streamdet.model.config import FrontendConfig, ModelConfig, Params
from train.data.corpus import Corpus, CorpusClip
from train.detector.config import DetectorConfig
from train.detector.validation import score_streams
from train.evaluation.scored_sets import CLIP_LEAD_S

CATEGORIES = ("hard_negative", "ambient", "speech", "music")
LOWEST_SCORE = 0.02


def mine_hard_negatives(config: DetectorConfig, params: Params, corpus: Corpus) -> dict[str, float]:
    """Weights by clip path, for the clips with a score above 0.02."""
    clips = corpus.select_clips("train", *CATEGORIES)
    scores = score_clip_peaks(config, params, corpus, clips)
    return {
        clip.path: round(score**2, 6)
        for clip, score in zip(clips, scores, strict=True)
        if score > LOWEST_SCORE
    }


def mine_by_bundle(bundle: Bundle, corpus: Corpus) -> dict[str, float]:
    """The same by a bundle of a detector."""
    config = DetectorConfig(
        name=bundle.name,
        version=bundle.version,
        frontend=cast("FrontendConfig", bundle.frontend),
        model=cast("ModelConfig", bundle.model),
    )
    return mine_hard_negatives(config, bundle.params, corpus)


def score_clip_peaks(
    config: DetectorConfig, params: Params, corpus: Corpus, clips: list[CorpusClip]
) -> list[float]:
    """The highest gunshot probability of each clip, alone after 0.4 s of faint noise. Clips are
    cut at 40 s."""
    rate = config.frontend.sample_rate
    noise = np.random.default_rng(5).standard_normal(60 * rate).astype(np.float32) * 2e-5
    by_length: dict[int, list[int]] = defaultdict(list)
    for i, clip in enumerate(clips):
        seconds = min(40, clip.length / rate + CLIP_LEAD_S + 0.2)
        by_length[int(2 ** np.ceil(np.log2(max(2.0, seconds))))].append(i)
    scores = np.zeros(len(clips))
    for seconds, indices in by_length.items():
        rows = max(1, 512 // seconds)
        for start in range(0, len(indices), rows):
            chosen = indices[start : start + rows]
            batch = np.tile(noise[: seconds * rate], (rows, 1))
            for row, i in zip(batch, chosen, strict=False):
                first = int(CLIP_LEAD_S * rate)
                x = corpus.read_samples(clips[i])[: len(row) - first]
                row[first : first + len(x)] += x
            probabilities = score_streams(config, params, batch)
            scores[chosen] = probabilities[: len(chosen)].max(axis=1)
    return [float(s) for s in scores]
