"""Adaptation of a tagger to a user's own clips, like `train.detector.adaptation` for detectors."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from streamdet.model import tagger
from streamdet.model.config import Params, TaggerModelConfig
from train.audioset import classes, metrics
from train.audioset.store import ClipStore
from train.detector.adaptation import AdaptationRequest
from train.detector.freezing import list_frozen_layers
from train.detector.run import OUT_OF_TIME, check_inputs
from train.errors import TrainError
from train.ranking import average_precision
from train.tagging import loop
from train.tagging.clips import split_clips
from train.tagging.config import TaggerConfig
from train.tagging.export import export_tagger
from train.tagging.scoring import load_tagger, score_stored_clips


def adapt_tagger(
    base: Path,
    request: AdaptationRequest,
    kind: str,
    records: Path,
    class_list: Path,
    folder: Path,
    to: Path,
    *,
    held_out: float,
    hours: float = float("inf"),
) -> list[dict[str, Any]] | None:
    """Train from the tagger ``base`` in the run ``folder``, export to ``to``, and score both on
    the held-out own clips.

    ``request.data`` holds the own clips, converted; they are ``request.share`` of each batch, the
    others come from ``records``. At a share of 1 ``records`` is not used. ``class_list`` names
    the classes of the own clips. If they are not the tagger's, its head is replaced, which needs
    a share of 1. Returns a row for each tagger with these classes, or None if ``hours`` were over
    before the run was. Raises TrainError if no class is a gunshot, or if ``folder`` holds a run
    with another base or other own clips.
    """
    model, params, card = load_tagger(base)
    known = classes.read_gunshot_classes(class_list)
    own_only = request.share == 1.0
    if not own_only and len(known.names) != model.classes:
        raise TrainError(
            f"{class_list}: has {len(known.names)} classes, but {base} has {model.classes}, and "
            "`adapt` replays the old clips. Use `transfer` to make a head for other classes."
        )
    name = f"{card['name']}-{kind}"
    config = _make_config(card, model, request, name, len(known.names), held_out)
    own = ClipStore(request.data).about
    check_inputs(folder, base=card["sha256"], own=own["sha256"])
    summary = loop.fit(
        config,
        request.data if own_only else records,
        folder,
        hours,
        start=params,
        own=None if own_only else request.data,
    )
    if summary["ended_by"] == OUT_OF_TIME:
        return None
    data = [*card.get("data", []), _name_own_clips(own)]
    export_tagger(config, folder, request.data, class_list, to, data)
    taggers = {"before": (model, params, card), "after": load_tagger(to)}
    return [
        {"model": key, **_measure_tagger(*scored, request.data, known.gunshots, held_out)}
        for key, scored in taggers.items()
        if scored[0].classes == len(known.names)
    ]


def _name_own_clips(own: dict[str, Any]) -> dict[str, Any]:
    return {
        "source": f"own clips ({own['source']})",
        "licence": "unknown",
        "clips": own["clips"],
        "sha256": own["sha256"],
    }


def _make_config(
    card: dict[str, Any],
    model: TaggerModelConfig,
    request: AdaptationRequest,
    name: str,
    class_count: int,
    held_out: float,
) -> TaggerConfig:
    """The config on the tagger's card, changed as requested."""
    known = {f.name for f in fields(TaggerConfig)} - {"model"}
    recipe = {k: v for k, v in card.get("config", {}).items() if k in known}
    base = TaggerConfig(**{**recipe, "name": name, "version": "1", "model": model})
    frozen = ()
    if request.layers:
        frozen = list_frozen_layers(tagger.layer_names(model), request.layers)
    return replace(
        base,
        seed=request.seed,
        model=replace(model, classes=class_count),
        batch=128,
        steps=request.steps,
        until_loss=0.0,
        patience=0,
        keep_at=(),
        frozen=frozen,
        warmup=min(50, request.steps // 4),
        learning_rate=request.rate,
        decay_rate=0.0,
        decay_steps=0,
        decay_from=0,
        own_share=0.0 if request.share == 1.0 else request.share,
        teachers=(),
        average=0.99,
        validation=held_out,
        validate_every=max(1, request.steps // 8),
        checkpoint_every=max(1, request.steps // 4),
    )


def _measure_tagger(
    model: TaggerModelConfig,
    params: Params,
    card: dict[str, Any],
    own: Path,
    gunshots: tuple[int, ...],
    held_out: float,
) -> dict[str, Any]:
    """Hits, false alarms and metrics on the held-out own clips, at the default point."""
    store = ClipStore(own)
    scores, truth = score_stored_clips(model, params, store, split_clips(store, held_out)[1])
    columns = list(gunshots)
    is_shot, highest = np.asarray(truth[:, columns].any(axis=1)), scores[:, columns].max(axis=1)
    point = card.get("operating_points", {}).get(card.get("default_point"), {"threshold": 0.5})
    alarms = highest >= point["threshold"]
    values = metrics.compute_metrics(scores, truth)
    ap = round(average_precision(highest, is_shot), 3) if is_shot.any() else None
    return {
        "threshold": round(point["threshold"], 3),
        "hits": f"{int((alarms & is_shot).sum())} / {int(is_shot.sum())}",
        "false alarms": f"{int((alarms & ~is_shot).sum())} / {int((~is_shot).sum())}",
        "ap": ap,
        "hit_at_1": round(values["hit_at_1"], 3),
        "map": round(values["map"], 3),
    }
