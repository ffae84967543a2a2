"""What a tagger says of clips, beside what is true of them."""

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
from train.errors import TrainError

AT_ONCE = 512
"""Rows of a batch to score."""


@partial(jax.jit, static_argnums=0)
def _probabilities(model: TaggerModelConfig, params: Params, batch: ClipBatch) -> jax.Array:
    frames, lengths = jnp.asarray(batch.frames), jnp.asarray(batch.lengths)
    return jax.nn.sigmoid(tagger.logits(model, params, frames, lengths))


def scored(
    model: TaggerModelConfig, params: Params, batches: Iterable[ClipBatch]
) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities and truth, ``(clips, classes)`` float32 and bool, of batches of at most 512
    clips, in their order; raises TrainError where there is no clip."""
    scores, truth = [], []
    for batch in batches:
        rows = len(batch.labels)
        filled = ClipBatch(*(np.resize(x, (AT_ONCE, *x.shape[1:])) for x in batch))
        scores.append(np.asarray(_probabilities(model, params, filled))[:rows])
        truth.append(batch.labels > 0.0)
    if not scores:
        raise TrainError("no clip to score")
    return np.concatenate(scores), np.concatenate(truth)


def load(folder: Path) -> tuple[TaggerModelConfig, Params, dict[str, Any]]:
    """`tagger_bundle.load`, raising TrainError where it can't be read."""
    try:
        return tagger_bundle.load(folder)
    except BundleError as error:
        raise TrainError(str(error)) from error


def evaluate(taggers: Sequence[Path], records: Path, class_list: Path) -> dict[str, Any]:
    """Every figure of a tagger's bundle on the TFRecords in a folder or tar archive, those of
    each gunshot class among them; of several taggers, of the mean of their probabilities. Raises
    TrainError where one of these can't be read."""
    known = classes.read_class_list(class_list)
    total, truth, names = 0.0, np.zeros(0), []
    for folder in taggers:
        model, params, card = load(folder)
        if len(known.names) != model.classes:
            raise TrainError(
                f"{class_list}: {len(known.names)} classes; {folder} has {model.classes}"
            )
        batches = batch_in_order(clips.read_clips(records), AT_ONCE, model.classes)
        scores, truth = scored(model, params, batches)
        total, names = total + scores, [*names, card["name"]]
    scores = np.asarray(total) / len(names)
    figures = metrics.compute_metrics(scores, truth, known.gunshots)
    each = {
        known.names[c]: metrics.average_precision(scores[:, c], truth[:, c])
        for c in known.gunshots
        if truth[:, c].any()
    }
    rounded = {n: round(v, 4) if math.isfinite(v) else None for n, v in figures.items()}
    ap_by_gunshot = {name: round(value, 4) for name, value in each.items()}
    return {"tagger": " + ".join(names), **rounded, "ap_by_gunshot": ap_by_gunshot}
