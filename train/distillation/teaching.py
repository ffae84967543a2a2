"""Ask the taggers and the heads on them about stored scenes, and store what they answer.

Each shard gets ``fast``, ``medium`` and ``slow``, the taggers' features (float16), as long as heads
need them; ``yamnet`` and ``mn04``, the square roots of their class probabilities in steps of 320 ms
(uint8); ``posterior``, the mean of the heads' gunshot logits in ticks of 80 ms (float16); and
``projection``, the features projected to a few dimensions (float16).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from streamdet.model.config import Params
from train.data.scene_store import CLASSES, PROJECTION_DIMS, SHARD, SceneStore
from train.distillation.config import TeacherHeadConfig
from train.distillation.head_network import GROUPS, FeatureBatch, FeatureScale, standardise
from train.distillation.recordings import score_features
from train.teachers.features import Teachers, run_teachers

ROWS = 16
PROJECTION = "projection.npz"
CLASSES_EACH = 64
"""Classes of each tagger that students learn."""
PROJECTION_SCENES = 512


class Head(NamedTuple):
    """A trained teacher head."""

    config: TeacherHeadConfig
    params: Params
    scale: FeatureScale


def answer_scenes(
    store: SceneStore, teachers: Teachers, *, part: tuple[int, int] = (0, 1)
) -> Iterator[int]:
    """Store the taggers' features and classes of all shards that lack them; yields each shard.

    ``part`` (i, n) takes every n-th shard from the i-th on, for n processes.
    """
    for shard in range(part[0], len(store.shards), part[1]):
        if store.has_array(shard, "mn04"):
            continue
        samples = store.open_array(shard, "samples") * np.float32(1.0 / 32768.0)
        outputs = [run_teachers(teachers, samples[i : i + ROWS]) for i in range(0, SHARD, ROWS)]
        for group in GROUPS:
            rows = np.concatenate([getattr(o.features, group) for o in outputs])
            store.write_array(shard, group, rows.astype(np.float16))
        for name in ("yamnet", "mn04"):
            rows = np.concatenate([getattr(o, name) for o in outputs])
            store.write_array(shard, name, np.round(np.sqrt(rows) * 255.0).astype(np.uint8))
        yield shard


def choose_classes(store: SceneStore, teachers: Teachers) -> None:
    """Write the classes of each tagger that are most present in the scenes to ``classes.json``."""
    chosen: dict[str, dict[str, int]] = {}
    names = {"yamnet": teachers.yamnet_classes, "mn04": teachers.mn04_classes}
    for tagger, classes in names.items():
        shards = range(min(8, len(store.shards)))
        peaks = np.concatenate([store.open_array(k, tagger).max(axis=1) for k in shards])
        present = np.mean((peaks / np.float32(255.0)) ** 2, axis=0)
        best = np.sort(np.argsort(-present, kind="stable")[:CLASSES_EACH])
        chosen[tagger] = {classes[i]: int(i) for i in best}
    (store.folder / CLASSES).write_text(json.dumps(chosen, indent=1))


def fit_projection(store: SceneStore, scale: FeatureScale, seed: int = 1) -> None:
    """Write the projection of the standardised features to their first principal components.

    By a randomised singular value decomposition (Halko et al., *Finding Structure with
    Randomness*, SIAM Review 53(2), 2011). The projected features have unit variance.
    """
    rng = np.random.default_rng(seed)
    scenes = rng.choice(len(store), min(PROJECTION_SCENES, len(store)), replace=False)
    features = FeatureBatch(*(np.stack([store.read(g, i) for i in scenes]) for g in GROUPS))
    spread = _expand(standardise(scale, features))[:, ::3]
    rows = spread.reshape(-1, spread.shape[-1])
    mean = rows.mean(axis=0)
    centred = rows - mean
    sketch = rng.standard_normal((rows.shape[1], PROJECTION_DIMS + 16)).astype(np.float32)
    basis, _ = np.linalg.qr(centred @ sketch)
    for _ in range(2):
        basis, _ = np.linalg.qr(centred @ (centred.T @ basis))
    _, singular, axes = np.linalg.svd(basis.T @ centred, full_matrices=False)
    matrix = (axes / (singular[:, None] / np.sqrt(len(rows)))).T[:, :PROJECTION_DIMS]
    np.savez(
        store.folder / PROJECTION,
        matrix=matrix.astype(np.float32),
        mean=mean,
        **{f"mean_{g}": m for g, m in zip(GROUPS, scale.mean, strict=True)},
        **{f"scale_{g}": m for g, m in zip(GROUPS, scale.scale, strict=True)},
    )


def teach_scenes(
    store: SceneStore, projection: Path, heads: Sequence[Head], *, forget: bool = False
) -> Iterator[int]:
    """Store the heads' posterior and the projected features of all answered shards; yields each.

    ``forget`` removes the features afterwards, which take two thirds of the space.
    """
    with np.load(projection, allow_pickle=False) as stored:
        scale = FeatureScale(
            FeatureBatch(*(stored[f"mean_{g}"] for g in GROUPS)),
            FeatureBatch(*(stored[f"scale_{g}"] for g in GROUPS)),
        )
        matrix, mean = stored["matrix"], stored["mean"]

    @jax.jit
    def project(features: FeatureBatch) -> jax.Array:
        return (_expand(standardise(scale, features), jnp) - mean) @ matrix

    for shard in range(len(store.shards)):
        if store.has_array(shard, "posterior"):
            continue
        features = FeatureBatch(*(np.asarray(store.open_array(shard, g)) for g in GROUPS))
        logits = [score_features(h.config, h.params, h.scale, features) for h in heads]
        parts = [FeatureBatch(*(x[i : i + ROWS] for x in features)) for i in range(0, SHARD, ROWS)]
        projected = np.concatenate([np.asarray(project(part)) for part in parts])
        store.write_array(shard, "projection", projected.astype(np.float16))
        store.write_array(shard, "posterior", np.mean(logits, axis=0).astype(np.float16))
        if forget:
            for group in GROUPS:
                (store.shards[shard] / f"{group}.npy").unlink()
        yield shard


def _expand(features: FeatureBatch, xp=np) -> np.ndarray:
    """Repeat the slower groups to ticks and concatenate: (n, ticks, dims)."""
    ticks = features.fast.shape[1]
    medium = xp.repeat(features.medium, 2, axis=1)[:, :ticks]
    slow = xp.repeat(features.slow, 4, axis=1)[:, :ticks]
    return xp.concatenate([xp.asarray(features.fast), medium, slow], axis=2)
