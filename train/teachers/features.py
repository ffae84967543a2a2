"""Features and class probabilities of both taggers on one time grid.

Tick k covers samples 1280 k to 1280 (k + 1) at 16 kHz, 80 ms. Layers of 160 and 320 ms are repeated
for 2 and 4 ticks, from tick 0.

Time alignment. The geometric centres of the receptive fields are, in samples of the taggers'
input: YAMNet's layer 6, 12 and 14 at 1280 i + 1320, 2560 i + 2600 and 5120 i + 5160 (windows of 400
samples, padding at the end only); mn04's block 6, 12 and `last` at 1280 i, 2560 i and 5120 i. The
learned weights move them: the centroids of the squared gradients with respect to the log-mel
frames, measured on the demo scene, lie 26 ms before, at, and 36 ms after YAMNet's centres, and 32,
42 and 105 ms after mn04's. So mn04 reads a scene as it is, and YAMNet reads it after 1544 samples
of reflection, and its first tick of layer 6 is dropped. The centroids then lie within 8 ms of the
centre of their tick at layer 6 and block 6, 14 ms and 37 ms before the centre of their 160 ms at
layer 12 and block 12, and 102 ms after and 55 ms before the centre of their 320 ms at layer 14 and
`last`. Fields reach far beyond their ticks on both sides, at layer 14 for seconds, and squeeze and
excitation of mn04 average over the whole scene.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import soxr

from streamdet.constants import RATE
from train.errors import TrainError
from train.teachers import mn04, yamnet
from train.teachers.weights import load_weights

TICK = 1280
"""Samples at 16 kHz of a tick."""

YAMNET_DIMS = 2 * (256 + 512 + 1024)
MN04_DIMS = 16 * 16 + 8 * 48 + 2 * 384

GUNSHOT_CLASSES = (
    "Gunshot, gunfire", "Machine gun", "Fusillade", "Artillery fire", "Cap gun",
)  # fmt: skip
"""AudioSet's classes of gunshots, named alike in both taggers."""

# samples of reflection before a scene for YAMNet; the module's docstring says why
_YAMNET_LEAD = 264 + TICK


@dataclass(frozen=True)
class Teachers:
    """The weights and class names of both taggers."""

    yamnet: Mapping[str, jax.Array]
    yamnet_classes: tuple[str, ...]
    mn04: Mapping[str, jax.Array]
    mn04_classes: tuple[str, ...]


class TeacherFeatures(NamedTuple):
    """Features of n scenes of so many ticks, each group at its own rate.

    ``fast`` (n, ticks, 768): YAMNet's layer 6, mean and maximum over frequency; mn04's block 6,
    flattened over (frequency, channels). ``medium`` (n, ceil(ticks / 2), 1408): layer 12 and
    block 12 likewise. ``slow`` (n, ceil(ticks / 4), 2816): layer 14 and `last`, mean and maximum
    of both.
    """

    fast: np.ndarray
    medium: np.ndarray
    slow: np.ndarray

    def expand(self) -> np.ndarray:
        """Repeat the slower groups to ticks and concatenate: (n, ticks, 4992)."""
        ticks = self.fast.shape[1]
        medium = np.repeat(self.medium, 2, axis=1)[:, :ticks]
        slow = np.repeat(self.slow, 4, axis=1)[:, :ticks]
        return np.concatenate([self.fast, medium, slow], axis=2)


class TeacherOutputs(NamedTuple):
    """What both taggers answer to n scenes.

    ``features``, and the probabilities of all classes in steps of 320 ms, step j for ticks 4 j to
    4 j + 3: ``yamnet`` (n, ceil(ticks / 4), 521) and ``mn04`` (n, ceil(ticks / 4), 527), float32.
    """

    features: TeacherFeatures
    yamnet: np.ndarray
    mn04: np.ndarray


def load_teachers(folder: str | Path) -> Teachers:
    """Load both taggers from ``folder``. Raises TrainError if a file is missing or damaged."""
    loaded = [load_weights(folder, name) for name in ("yamnet", "mn04")]
    (ours, our_classes), (theirs, their_classes) = loaded
    return Teachers(
        {key: jnp.asarray(value) for key, value in ours.items()}, our_classes,
        {key: jnp.asarray(value) for key, value in theirs.items()}, their_classes,
    )  # fmt: skip


def run_teachers(teachers: Teachers, samples: np.ndarray) -> TeacherOutputs:
    """Run both taggers on scenes (n, t) of float32 samples at 16 kHz, full scale 1.

    Complete ticks only: ticks = t // 1280. Each new length is compiled once. A scene's outputs do
    not depend on the others. Raises TrainError if the scenes are shorter than a tick.
    """
    ticks = samples.shape[1] // TICK
    if ticks == 0:
        raise TrainError(f"scenes of {samples.shape[1]} samples: a tagger needs {TICK} or more")
    frames = 32 * (ticks // 4 + 1)
    for_yamnet = _extend(samples, _YAMNET_LEAD, yamnet.HOP * (frames - 1) + yamnet.WINDOW)
    for_mn04 = soxr.resample(samples[:, : ticks * TICK].T, RATE, mn04.RATE).T
    # one scene at a time stays in the CPU's caches, and needs no compilation for each batch size
    ours = [_run_yamnet(teachers.yamnet, scene[None], ticks) for scene in for_yamnet]
    theirs = [_run_mn04(teachers.mn04, scene[None], ticks) for scene in for_mn04]
    fast, medium, slow, yamnet_classes = map(np.concatenate, zip(*ours, strict=True))
    *others, mn04_classes = map(np.concatenate, zip(*theirs, strict=True))
    groups = zip((fast, medium, slow), others, strict=True)
    features = TeacherFeatures(*(np.concatenate(group, axis=2) for group in groups))
    return TeacherOutputs(features, yamnet_classes, mn04_classes)


def extract_features(teachers: Teachers, samples: np.ndarray) -> np.ndarray:
    """Compute features (n, ticks, 4992), float32, of scenes (n, t) at 16 kHz.

    The columns are those of `TeacherFeatures`, fast before medium before slow.
    """
    return run_teachers(teachers, samples).features.expand()


def class_probabilities(teachers: Teachers, samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Compute YAMNet's and mn04's class probabilities in steps of 320 ms, as `TeacherOutputs`.

    Each step classifies the mean over itself and its two neighbours, 0.96 s, of YAMNet's layer 14
    or mn04's `last`.
    """
    outputs = run_teachers(teachers, samples)
    return outputs.yamnet, outputs.mn04


def gunshot_columns(classes: tuple[str, ...]) -> list[int]:
    """The indices of GUNSHOT_CLASSES among ``classes``."""
    return [classes.index(name) for name in GUNSHOT_CLASSES]


@partial(jax.jit, static_argnums=2)
def _run_yamnet(params: Mapping, samples: jax.Array, ticks: int) -> tuple[jax.Array, ...]:
    layers = yamnet.apply(params, yamnet.compute_log_mel(params, samples), (6, 12, 14))
    fast, medium = layers[6][:, 1 : ticks + 1], layers[12][:, : -(-ticks // 2)]
    slow = layers[14][:, : -(-ticks // 4)]
    probabilities = yamnet.classify_embedding(params, _slide(slow.mean(axis=2)))
    return _pool(fast), _pool(medium), _pool(slow), probabilities


@partial(jax.jit, static_argnums=2)
def _run_mn04(params: Mapping, samples: jax.Array, ticks: int) -> tuple[jax.Array, ...]:
    layers = mn04.apply(params, mn04.compute_log_mel(params, samples), (6, 12, mn04.LAST))
    fast, medium, slow = layers[6][:, :ticks], layers[12], layers[mn04.LAST]
    probabilities = mn04.classify_embedding(params, _slide(slow.mean(axis=2)))
    return _flatten(fast), _flatten(medium), _pool(slow), probabilities


def _extend(samples: np.ndarray, lead: int, length: int) -> np.ndarray:
    """Reflect ``lead`` samples before the scenes, and as many after them as fill ``length``."""
    tail = length - lead - samples.shape[1]
    extended = np.pad(samples, ((0, 0), (lead, max(tail, 0))), mode="reflect")
    return extended[:, :length]


def _pool(x: jax.Array) -> jax.Array:
    return jnp.concatenate([x.mean(axis=2), x.max(axis=2)], axis=2)


def _flatten(x: jax.Array) -> jax.Array:
    return x.reshape(*x.shape[:2], -1)


def _slide(x: jax.Array) -> jax.Array:
    """The mean over each step and its neighbours, at the ends of those there are."""
    steps = np.arange(x.shape[1])
    near = np.abs(steps[:, None] - steps) <= 1
    weights = (near / near.sum(axis=1, keepdims=True)).astype(np.float32)
    return jnp.einsum("ij,njc->nic", weights, x)
