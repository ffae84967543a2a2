"""Validation during training: scores val scenes with the current weights, to choose a checkpoint.

For speed this skips the engine. Reported metrics go through the serving engine instead
(`train.evaluation`); a test checks that both give the same scores.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from streamdet.model import frontend, network
from streamdet.model.config import Params
from train.data.corpus import Corpus
from train.data.labels import GUNSHOT
from train.data.mixtures import Mixture, make_film_mixtures, make_rare_mixtures
from train.detector.config import DetectorConfig
from train.evaluation import metrics

CHUNK_S = 30
ROWS = 24
RARE, REELS = 240, 8
SEED, EBRS_DB = 17, (-6.0, 0.0, 6.0)


def make_val_scenes(corpus: Corpus) -> list[Mixture]:
    """The scenes that a run validates on: 240 rare mixtures and eight film-like reels."""
    return [
        *make_rare_mixtures(corpus, "val", SEED, RARE, EBRS_DB),
        *make_film_mixtures(corpus, "val", SEED, REELS),
    ]


@partial(jax.jit, static_argnums=0)
def _score_chunk(
    config: DetectorConfig, params: Params, states: Any, samples: jax.Array
) -> tuple[Any, jax.Array]:
    frontend_state, network_state = states
    frontend_state, frames = frontend.step(config.frontend, frontend_state, samples)
    network_state, logits = network.step(config.model, params, network_state, frames)
    return (frontend_state, network_state), jax.nn.sigmoid(logits[..., GUNSHOT])


def score_streams(config: DetectorConfig, params: Params, samples: np.ndarray) -> np.ndarray:
    """Gunshot probabilities ``(streams, frames)`` of ``(streams, n) float32`` samples, from a
    cold state, 30 s at a time. n must be a multiple of ``config.frame``."""
    streams, length = samples.shape
    states: Any = (
        frontend.init(config.frontend, streams),
        network.init_state(config.model, streams),
    )
    chunk = CHUNK_S * config.frontend.sample_rate
    scores = []
    for start in range(0, length, chunk):
        part = jnp.asarray(samples[:, start : start + chunk])
        states, probabilities = _score_chunk(config, params, states, part)
        scores.append(np.asarray(probabilities))
    return np.concatenate(scores, axis=1)


def validate(config: DetectorConfig, params: Params, scenes: Sequence[Mixture]) -> dict[str, float]:
    """The metrics of `train.evaluation.metrics.summarise_kind` for each kind of scene, and
    ``miss_rate``, the mean of theirs, by which checkpoints are chosen."""
    row: dict[str, float] = {}
    kinds = sorted({scene.name.split("/")[0] for scene in scenes})
    for kind in kinds:
        of_kind = [scene for scene in scenes if scene.name.startswith(kind)]
        files = []
        for i in range(0, len(of_kind), ROWS):
            part = of_kind[i : i + ROWS]
            scores = score_streams(config, params, np.stack([s.samples for s in part]))
            truths = [[(t.onset_s, t.offset_s) for t in s.truth] for s in part]
            files += list(zip(scores, truths, strict=True))
        hours = sum(len(s.samples) for s in of_kind) / config.frontend.sample_rate / 3600
        row |= metrics.summarise_kind(kind, files, config.frame_s, hours)
    rates = [row[f"{kind}_miss_rate"] for kind in kinds]
    return {"miss_rate": round(float(np.mean(rates)), 4), **row}
