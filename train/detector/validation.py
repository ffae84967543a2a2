"""Val scenes heard with the weights of the moment, to choose a checkpoint by.

A shortcut past the engine, for speed, within training alone: figures that are reported go
the serving road (`train.evaluation`), and a test holds the two to the same scores.
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
from train.detector.config import TrainConfig
from train.evaluation import metrics

CHUNK_S = 30
RARE, REELS = 240, 8
RATES_H = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)


def val_scenes(corpus: Corpus) -> list[Mixture]:
    """The scenes a run validates on: 240 rare mixtures and eight film-like reels."""
    rares = make_rare_mixtures(corpus, "val", 17, RARE, (-6.0, 0.0, 6.0))
    return [*rares, *make_film_mixtures(corpus, "val", 17, REELS)]


@partial(jax.jit, static_argnums=0)
def _hear(
    config: TrainConfig, params: Params, states: Any, samples: jax.Array
) -> tuple[Any, jax.Array]:
    hearing, memory = states
    hearing, frames = frontend.step(config.frontend, hearing, samples)
    memory, logits = network.step(config.model, params, memory, frames)
    return (hearing, memory), jax.nn.sigmoid(logits[..., GUNSHOT])


def hear(config: TrainConfig, params: Params, sounds: np.ndarray) -> np.ndarray:
    """Gunshot probabilities ``(streams, frames)`` of ``(streams, n) float32`` samples, from a
    cold state, 30 s at a time; n is a multiple of the detector's frame."""
    streams, length = sounds.shape
    states: Any = (
        frontend.init(config.frontend, streams),
        network.init_state(config.model, streams),
    )
    scores = []
    for at in range(0, length, CHUNK_S * config.frontend.sample_rate):
        chunk = sounds[:, at : at + CHUNK_S * config.frontend.sample_rate]
        states, heard = _hear(config, params, states, jnp.asarray(chunk))
        scores.append(np.asarray(heard))
    return np.concatenate(scores, axis=1)


def validate(config: TrainConfig, params: Params, scenes: Sequence[Mixture]) -> dict[str, float]:
    """Best event error rate, F1 and recall of each kind of scene, by the benchmark's rules.

    ``miss_rate`` is what checkpoints are chosen by: the mean over the kinds of the mean miss
    rate at 1, 2, 4 ... 64 false alarms an hour (after the log-average miss rate of Dollar et
    al., *Pedestrian Detection*, PAMI 2012), those of the same 10 s counted once. One bed that
    alarms moves the best error rate further than a thousand steps do, and this less.
    """
    hop_s = config.frontend.hop * config.model.stride / config.frontend.sample_rate
    row: dict[str, float] = {}
    kinds = sorted({scene.name.split("/")[0] for scene in scenes})
    for kind in kinds:
        some = [s for s in scenes if s.name.startswith(kind)]
        files = []
        for i in range(0, len(some), 24):
            part = some[i : i + 24]
            scores = hear(config, params, np.stack([s.samples for s in part]))
            truths = [[(t.onset_s, t.offset_s) for t in s.truth] for s in part]
            files += list(zip(scores, truths, strict=True))
        thresholds = metrics.choose_thresholds(files)
        rows = metrics.sweep_thresholds(files, hop_s, thresholds)
        spaced = metrics.sweep_thresholds(files, hop_s, thresholds, metrics.match_spaced)
        hours = sum(len(s.samples) for s in some) / config.frontend.sample_rate / 3600
        best = min(rows, key=lambda r: r.error_rate)
        row |= {
            f"{kind}_error_rate": round(best.error_rate, 3),
            f"{kind}_f1": round(max(r.f1 for r in rows), 3),
            f"{kind}_recall_at_6": round(metrics.find_recall_at_rate(rows, hours, 6.0), 3),
            f"{kind}_miss_rate": round(
                1.0
                - float(np.mean([metrics.find_recall_at_rate(spaced, hours, n) for n in RATES_H])),
                4,
            ),
        }
    rates = [row[f"{kind}_miss_rate"] for kind in kinds]
    return {"miss_rate": round(float(np.mean(rates)), 4), **row}
