"""From an ended run of a tagger to its bundle: the weights, the classes, a threshold."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from streamdet.model import tagger_bundle
from streamdet.model.config import Params, TaggerModelConfig
from train.audioset import classes, metrics
from train.audioset.batches import batch_in_order
from train.audioset.store import ClipStore
from train.detector import journal
from train.errors import TrainError
from train.tagging import calibration
from train.tagging.clips import split
from train.tagging.config import TaggerConfig
from train.tagging.scoring import AT_ONCE, scored
from train.tagging.teachers import best_params

POINT = "sensitive"


def export(
    config: TaggerConfig, run: Path, records: Path, class_list: Path, to: Path
) -> dict[str, Any]:
    """Write the best weights of an ended run as a tagger's bundle; returns what ``run.json`` says.

    Its log-odds are calibrated on the held-out clips of ``records``, the run's converted ones, and
    its one operating point is the threshold of the best F1 of any gunshot on them. Raises
    TrainError where the run has not ended, or the records or the class list can't be read.
    """
    ended = journal.concluded(run)
    if ended is None:
        raise TrainError(f"{run}: no ended run; `python -m train fit` goes on with it")
    known = classes.read_class_list(class_list)
    if len(known.names) != config.model.classes:
        raise TrainError(f"{class_list}: {len(known.names)} classes, not {config.model.classes}")
    store, params = ClipStore(records), best_params(config, run)
    train, held = split(store, config.validation)
    model, params, changed = _calibrated(config, params, store, train, held)
    about = {
        "version": config.version,
        "licence": "Apache-2.0",
        "data": [
            {
                "source": f"AudioSet VGGish embeddings, Google ({ended['data']['source']})",
                "licence": "CC BY 4.0",
                "clips": ended["data"]["clips"],
                "sha256": ended["data"]["sha256"],
            }
        ],
        **{key: ended[key] for key in ("config", "seed", "commit", "ended_by")},
        "held_out": ended["best"],
        "calibration": changed,
        "classes": list(known.names),
        "gunshots": list(known.gunshots),
        "default_point": POINT,
        "operating_points": {POINT: _point(model, params, store, held, known.gunshots)},
    }
    tagger_bundle.save(to, config.name, model, params, about)
    return ended


def _calibrated(
    config: TaggerConfig, params: Params, store: ClipStore, train: np.ndarray, held: np.ndarray
) -> tuple[TaggerModelConfig, Params, dict[str, float]]:
    """The tagger with a calibration that is fitted on the held-out clips; what it changed."""
    if config.model.calibrated:
        return config.model, params, {}
    batches = batch_in_order((store[n] for n in held), AT_ONCE, config.model.classes)
    scores, truth = scored(config.model, params, batches)
    counts = np.bincount(np.concatenate([store.labels(n) for n in train]),
                         minlength=config.model.classes)  # fmt: skip
    scale, bias = calibration.fit(scores, truth, (counts + 1) / len(train))
    after = calibration.applied(scores, scale, bias)
    figures = {
        "scale": round(scale, 4),
        "avg_loss_before": round(metrics.average_loss(scores, truth), 4),
        "avg_loss": round(metrics.average_loss(after, truth), 4),
    }
    layer = {"scale": np.array([scale], np.float32), "bias": bias.astype(np.float32)}
    return replace(config.model, calibrated=True), {**params, "calibration": layer}, figures


def _point(
    model: TaggerModelConfig,
    params: Params,
    store: ClipStore,
    held: np.ndarray,
    gunshots: tuple[int, ...],
) -> dict[str, Any]:
    batches = batch_in_order((store[n] for n in held), AT_ONCE, model.classes)
    scores, truth = scored(model, params, batches)
    shots = list(gunshots)
    threshold, precision, recall = metrics.find_best_f1(
        scores[:, shots].max(axis=1), np.asarray(truth[:, shots].any(axis=1))
    )
    figures = {"precision": round(precision, 3), "recall": round(recall, 3), "clips": len(held)}
    return {"threshold": round(threshold, 4), "figures": {"held_out": figures}}
