"""Export of a tagger: from an ended run to a bundle with weights, classes and a threshold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from streamdet.model import tagger_bundle
from streamdet.model.config import Params, TaggerModelConfig
from train.audioset import classes, metrics
from train.audioset.store import ClipStore
from train.detector import journal
from train.errors import TrainError
from train.tagging import calibration
from train.tagging.clips import split_clips
from train.tagging.config import TaggerConfig
from train.tagging.scoring import score_stored_clips
from train.tagging.teachers import load_best_params

POINT = "sensitive"


def export_tagger(
    config: TaggerConfig,
    run: Path,
    records: Path,
    class_list: Path,
    to: Path,
    data: Sequence[dict[str, Any]] | None = None,
) -> dict[str, Any]:
    """Write the best weights of an ended run as a bundle; returns the content of ``run.json``.

    The log-odds are calibrated on the held-out clips of ``records``, the converted clips of the
    run. The one operating point is the threshold with the best F1 on them for any gunshot class.
    ``data`` names the sources of the clips on the card; None: those of the run, from AudioSet.
    Raises TrainError if the run has not ended, the records or the class list can't be read, or no
    class is a gunshot.
    """
    summary = journal.read_summary(run)
    if summary is None:
        raise TrainError(f"{run}: no ended run. Start or continue it with `python -m train fit`.")
    known = classes.read_gunshot_classes(class_list)
    if len(known.names) != config.model.classes:
        raise TrainError(
            f"{class_list}: has {len(known.names)} classes, but {config.name} has "
            f"{config.model.classes}. Name the class list that the run was trained on."
        )
    store, params = ClipStore(records), load_best_params(config, run)
    train, held_out = split_clips(store, config.validation)
    model, params, changes = _calibrate(config, params, store, train, held_out)
    about = {
        "version": config.version,
        "licence": "Apache-2.0",
        "data": [_name_audioset(summary["data"])] if data is None else list(data),
        **{key: summary[key] for key in ("config", "seed", "commit", "ended_by")},
        "held_out": summary["best"],
        "calibration": changes,
        "classes": list(known.names),
        "gunshots": list(known.gunshots),
        "default_point": POINT,
        "operating_points": {POINT: _measure_point(model, params, store, held_out, known.gunshots)},
    }
    tagger_bundle.save(to, config.name, model, params, about)
    return summary


def _name_audioset(clips: dict[str, Any]) -> dict[str, Any]:
    return {
        "source": f"AudioSet VGGish embeddings, Google ({clips['source']})",
        "licence": "CC BY 4.0",
        "clips": clips["clips"],
        "sha256": clips["sha256"],
    }


def _calibrate(
    config: TaggerConfig,
    params: Params,
    store: ClipStore,
    train: np.ndarray,
    held_out: np.ndarray,
) -> tuple[TaggerModelConfig, Params, dict[str, float]]:
    """The tagger with a calibration fitted on the held-out clips, and what it changed."""
    if config.model.calibrated:
        return config.model, params, {}
    scores, truth = score_stored_clips(config.model, params, store, held_out)
    labels = np.concatenate([store.labels(n) for n in train])
    counts = np.bincount(labels, minlength=config.model.classes)
    scale, bias = calibration.fit_calibration(scores, truth, (counts + 1) / len(train))
    calibrated = calibration.apply_calibration(scores, scale, bias)
    changes = {
        "scale": round(scale, 4),
        "avg_loss_before": round(metrics.average_loss(scores, truth), 4),
        "avg_loss": round(metrics.average_loss(calibrated, truth), 4),
    }
    layer = {"scale": np.array([scale], np.float32), "bias": bias.astype(np.float32)}
    return replace(config.model, calibrated=True), {**params, "calibration": layer}, changes


def _measure_point(
    model: TaggerModelConfig,
    params: Params,
    store: ClipStore,
    held_out: np.ndarray,
    gunshots: tuple[int, ...],
) -> dict[str, Any]:
    scores, truth = score_stored_clips(model, params, store, held_out)
    columns = list(gunshots)
    threshold, precision, recall = metrics.find_best_f1(
        scores[:, columns].max(axis=1), np.asarray(truth[:, columns].any(axis=1))
    )
    figures = {"precision": round(precision, 3), "recall": round(recall, 3), "clips": len(held_out)}
    return {"threshold": round(threshold, 4), "figures": {"held_out": figures}}
