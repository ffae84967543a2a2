"""Hard-negative mining: which clips without a shot the model of the moment takes for one.

The whole train pool of other sounds is heard as it is, each clip alone from a cold state;
a clip's weight is the square of its highest gunshot probability, so that the mixer draws
most where the model is most wrong (Shrivastava et al., *Training Region-based Object
Detectors with Online Hard Example Mining*, CVPR 2016, gives the idea).
"""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from streamdet.model.config import Params
from train.data.corpus import Corpus, CorpusClip
from train.detector.config import TrainConfig
from train.detector.validation import hear

CATEGORIES = ("hard_negative", "ambient", "speech", "music")
LEAST = 0.02
LEAD_S = 0.4
"""Faint noise before a clip: no recording begins with its sound at sample 0."""


def mine(config: TrainConfig, params: Params, corpus: Corpus) -> dict[str, float]:
    """Weights by clip path, for the clips whose score is not negligible."""
    clips = corpus.select_clips("train", *CATEGORIES)
    return {
        clip.path: round(score**2, 6)
        for clip, score in zip(clips, peaks(config, params, corpus, clips), strict=True)
        if score > LEAST
    }


def peaks(
    config: TrainConfig, params: Params, corpus: Corpus, clips: list[CorpusClip]
) -> list[float]:
    """The highest gunshot probability of each clip, heard alone after 0.4 s of faint noise."""
    rate = config.frontend.sample_rate
    noise = np.random.default_rng(5).standard_normal(60 * rate).astype(np.float32) * 2e-5
    by_length: dict[int, list[int]] = defaultdict(list)
    for i, clip in enumerate(clips):
        seconds = min(40, clip.length / rate + LEAD_S + 0.2)
        by_length[int(2 ** np.ceil(np.log2(max(2.0, seconds))))].append(i)
    scores = np.zeros(len(clips))
    for seconds, indices in by_length.items():
        step = max(1, 512 // seconds)
        for at in range(0, len(indices), step):
            some = indices[at : at + step]
            batch = np.tile(noise[: seconds * rate], (step, 1))
            for row, i in zip(batch, some, strict=False):
                first = int(LEAD_S * rate)
                x = corpus.read_samples(clips[i])[: len(row) - first]
                row[first : first + len(x)] += x
            heard = hear(config, params, batch)
            scores[some] = heard[: len(some)].max(axis=1)
    return [float(s) for s in scores]
