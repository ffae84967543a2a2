"""Validation of verifiers while they train: every frame of val scenes, not only candidates."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from streamdet.constants import RATE
from streamdet.model import frontend, verifier
from streamdet.model.config import Params, VerifierConfig
from train.data.corpus import Corpus
from train.data.labels import GUNSHOT
from train.data.mixtures import (
    Mixture,
    make_city_mixtures,
    make_film_mixtures,
    make_rare_mixtures,
)
from train.detector.validation import EBRS_DB, SEED
from train.evaluation import metrics
from train.verifier.config import VerifierTrainingConfig

RARE, REELS = 120, 4
ROWS = 32


class ValRecording(NamedTuple):
    """A val scene: its name, its true events in seconds, its windows of log-mel frames (windows, t,
    bands) and its number of scored frames."""

    name: str
    truth: tuple[tuple[float, float], ...]
    windows: np.ndarray
    frames: int


def make_val_set(config: VerifierTrainingConfig, corpus: Corpus) -> list[ValRecording]:
    """The scenes that a verifier validates on: 120 rare mixtures, four reels and the city."""
    scenes = [
        *make_rare_mixtures(corpus, "val", SEED, RARE, EBRS_DB),
        *make_film_mixtures(corpus, "val", SEED, REELS),
        *make_city_mixtures(corpus, "val"),
    ]
    return [_cut_scene(config, scene) for scene in scenes]


def _cut_scene(config: VerifierTrainingConfig, scene: Mixture) -> ValRecording:
    """Cut a scene into windows whose middles follow each other."""
    model, frame = config.model, round(config.frame_s * RATE)
    count = -(-len(scene.samples) // frame)
    margin = config.margin
    core = model.window - 2 * margin
    windows = -(-count // core)
    total = (windows * core + 2 * margin) * frame
    samples = np.zeros(total, np.float32)
    samples[margin * frame : margin * frame + len(scene.samples)] = scene.samples
    state = frontend.init(config.frontend, 1)
    mel = np.asarray(frontend.step(config.frontend, state, jnp.asarray(samples[None]))[1][0])
    starts = np.arange(windows) * core * model.stride
    cut = np.stack([mel[a : a + model.window * model.stride] for a in starts])
    truth = tuple((e.onset_s, e.offset_s) for e in scene.truth)
    return ValRecording(scene.name, truth, cut.astype(np.float16), count)


@partial(jax.jit, static_argnums=0)
def _score(config: VerifierConfig, params: Params, frames: jax.Array) -> jax.Array:
    logits = verifier.apply(verifier.VerifierNetwork(config), params, frames.astype(jnp.float32))
    return jax.nn.sigmoid(logits[..., GUNSHOT])


def score_windows(config: VerifierConfig, params: Params, windows: np.ndarray) -> np.ndarray:
    """Gunshot probabilities of windows (n, t, bands): (n, t / stride) float32."""
    scores = []
    for i in range(0, len(windows), ROWS):
        part = windows[i : i + ROWS]
        padded = np.pad(part, ((0, ROWS - len(part)), (0, 0), (0, 0)))
        scores.append(np.asarray(_score(config, params, padded))[: len(part)])
    return np.concatenate(scores)


def validate_verifier(
    config: VerifierTrainingConfig, params: Params, recordings: list[ValRecording]
) -> dict[str, float]:
    """The metrics of `train.detector.validation.validate`."""
    scores = score_windows(config.model, params, np.concatenate([r.windows for r in recordings]))
    scores = scores[:, config.margin : config.model.window - config.margin]
    kinds: dict[str, list[tuple[np.ndarray, tuple]]] = {}
    first = 0
    for r in recordings:
        joined = scores[first : first + len(r.windows)].reshape(-1)[: r.frames]
        first += len(r.windows)
        kinds.setdefault(r.name.split("/")[0], []).append((joined, r.truth))
    row: dict[str, float] = {}
    for kind, files in kinds.items():
        hours = sum(len(s) for s, _ in files) * config.frame_s / 3600
        row |= metrics.summarise_kind(kind, files, config.frame_s, hours)
    rates = [row[f"{kind}_miss_rate"] for kind in kinds]
    return {"miss_rate": round(float(np.mean(rates)), 4), **row}
