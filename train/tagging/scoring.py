"""Scores of taggers on clips, beside the truth."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from streamdet.model import tagger, tagger_bundle
from streamdet.model.bundle_files import BundleError
from streamdet.model.config import Params, TaggerModelConfig
from train.audioset import classes, clips, metrics
from train.audioset.batches import ClipBatch, batch_in_order
from train.audioset.store import ClipStore
from train.errors import TrainError
from train.ranking import average_precision

ROWS = 512
"""Clips in a batch to score."""


@partial(jax.jit, static_argnums=0)
def _compute_probabilities(model: TaggerModelConfig, params: Params, batch: ClipBatch) -> jax.Array:
    frames, lengths = jnp.asarray(batch.frames), jnp.asarray(batch.lengths)
    return jax.nn.sigmoid(tagger.logits(model, params, frames, lengths))


def score_batches(
    model: TaggerModelConfig, params: Params, batches: Iterable[ClipBatch]
) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities, float32, and truth, bool, both ``(clips, classes)``, of batches of at most
    512 clips, in order. Raises TrainError if there is no clip."""
    scores, truth = [], []
    for batch in batches:
        rows = len(batch.labels)
        full = ClipBatch(*(np.resize(x, (ROWS, *x.shape[1:])) for x in batch))
        scores.append(np.asarray(_compute_probabilities(model, params, full))[:rows])
        truth.append(batch.labels > 0.0)
    if not scores:
        raise TrainError("no clips to score")
    return np.concatenate(scores), np.concatenate(truth)


def score_stored_clips(
    model: TaggerModelConfig, params: Params, store: ClipStore, numbers: Iterable[int]
) -> tuple[np.ndarray, np.ndarray]:
    """`score_batches` of the clips of a store with these numbers."""
    return score_batches(
        model, params, batch_in_order((store[n] for n in numbers), ROWS, model.classes)
    )


def load_tagger(folder: Path) -> tuple[TaggerModelConfig, Params, dict[str, Any]]:
    """The model, weights and card of a tagger's bundle; raises TrainError if it can't be read."""
    try:
        return tagger_bundle.load(folder)
    except BundleError as error:
        raise TrainError(str(error)) from error


def evaluate_taggers(taggers: Sequence[Path], records: Path, class_list: Path) -> dict[str, Any]:
    """All metrics of a tagger's bundle on the TFRecords in a folder or tar archive, with the
    average precision of each gunshot class. For several taggers, the metrics of the mean of their
    probabilities. Raises TrainError if something can't be read."""
    known = classes.read_class_list(class_list)
    total, truth, names = 0.0, np.zeros(0), []
    for folder in taggers:
        model, params, card = load_tagger(folder)
        if len(known.names) != model.classes:
            raise TrainError(
                f"{class_list}: has {len(known.names)} classes, but {folder} has {model.classes}. "
                "Name the class list of this tagger."
            )
        batches = batch_in_order(clips.read_clips(records), ROWS, model.classes)
        scores, truth = score_batches(model, params, batches)
        total, names = total + scores, [*names, card["name"]]
    scores = np.asarray(total) / len(names)
    values = metrics.compute_metrics(scores, truth, known.gunshots)
    by_class = {
        known.names[c]: average_precision(scores[:, c], truth[:, c])
        for c in known.gunshots
        if truth[:, c].any()
    }
    rounded = {n: round(v, 4) if math.isfinite(v) else None for n, v in values.items()}
    ap_by_gunshot = {name: round(value, 4) for name, value in by_class.items()}
    return {"tagger": " + ".join(names), **rounded, "ap_by_gunshot": ap_by_gunshot}
