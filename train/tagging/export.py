"""From an ended run of a tagger to its bundle: the weights, the classes, a threshold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from streamdet.model import tagger_bundle
from streamdet.model.disk import Params
from train import journal
from train.audioset import classes, metrics
from train.audioset.batches import in_order
from train.audioset.store import Store
from train.failure import TrainError
from train.tagging.clips import split
from train.tagging.config import TaggerConfig
from train.tagging.scoring import AT_ONCE, scored
from train.tagging.teaching import best_params

POINT = "sensitive"


def export(
    config: TaggerConfig, run: Path, records: Path, class_list: Path, to: Path
) -> dict[str, Any]:
    """Write the best weights of an ended run as a tagger's bundle; returns what ``run.json`` says.

    Its one operating point is the threshold of the best F1 of any gunshot on the held-out clips
    of the converted ``records``. Raises TrainError where the run has not ended, or the records or
    the class list can't be read.
    """
    ended = journal.concluded(run)
    if ended is None:
        raise TrainError(f"{run}: no ended run; `python -m train fit` goes on with it")
    known = classes.read(class_list)
    if len(known.names) != config.model.classes:
        raise TrainError(f"{class_list}: {len(known.names)} classes, not {config.model.classes}")
    params = best_params(config, run)
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
        "classes": list(known.names),
        "gunshots": list(known.gunshots),
        "default_point": POINT,
        "operating_points": {POINT: _point(config, params, Store(records), known.gunshots)},
    }
    tagger_bundle.save(to, config.name, config.model, params, about)
    return ended


def _point(
    config: TaggerConfig, params: Params, store: Store, gunshots: tuple[int, ...]
) -> dict[str, Any]:
    _, held = split(store, config.validation)
    batches = in_order((store[n] for n in held), AT_ONCE, config.model.classes)
    scores, truth = scored(config.model, params, batches)
    shots = list(gunshots)
    threshold, precision, recall = metrics.best_f1(
        scores[:, shots].max(axis=1), np.asarray(truth[:, shots].any(axis=1))
    )
    figures = {"precision": round(precision, 3), "recall": round(recall, 3), "clips": len(held)}
    return {"threshold": round(threshold, 4), "figures": {"held_out": figures}}
