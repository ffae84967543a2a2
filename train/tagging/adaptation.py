"""A tagger goes on learning from a user's own clips, as `train.detector.adaptation` does for detectors."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from streamdet.model import tagger
from streamdet.model.config import Params, TaggerModelConfig
from train.audioset import classes, metrics
from train.audioset.batches import batch_in_order
from train.audioset.store import ClipStore
from train.detector.freezing import frozen
from train.errors import TrainError
from train.tagging import loop
from train.tagging.clips import split
from train.tagging.config import TaggerConfig
from train.tagging.export import export
from train.tagging.scoring import AT_ONCE, load, scored


def run(
    base: Path,
    kind: str,
    own: Path,
    records: Path,
    class_list: Path,
    folder: Path,
    to: Path,
    *,
    share: float,
    steps: int,
    rate: float,
    layers: int,
    held_out: float,
    seed: int,
    hours: float = float("inf"),
) -> list[dict[str, Any]] | None:
    """Train from the tagger ``base`` on the converted clips in ``own``, at ``share`` of each
    batch, and in ``records`` (none of them where the share is 1), export to ``to``, and score on
    the held-out own clips before and after; None where the time was over before the run was.

    ``class_list`` names the classes of the own clips; where they are not the tagger's, its head
    is made anew, which only ``share`` 1 allows.
    """
    model, params, card = load(base)
    known = classes.read_class_list(class_list)
    if share < 1.0 and len(known.names) != model.classes:
        raise TrainError(
            f"{class_list}: {len(known.names)} classes; {base} has {model.classes}, and old clips "
            "are replayed: `transfer` makes a head for classes of your own"
        )
    config = _config(card, model, f"{card['name']}-{kind}", len(known.names), share, steps, rate,
                     layers, held_out, seed)  # fmt: skip
    alone = share == 1.0
    ended = loop.fit(
        config,
        own if alone else records,
        folder,
        hours,
        start=params,
        own=None if alone else own,
    )
    if ended["ended_by"].startswith("its time"):
        return None
    export(config, folder, own, class_list, to)
    rows = [("before", model, params, card), ("after", *load(to))]
    return [
        _row(name, its, weights, about, own, known.gunshots, held_out)
        for name, its, weights, about in rows
        if its.classes == len(known.names)
    ]


def _config(
    card: dict[str, Any],
    model: TaggerModelConfig,
    name: str,
    count: int,
    share: float,
    steps: int,
    rate: float,
    layers: int,
    held_out: float,
    seed: int,
) -> TaggerConfig:
    known = {f.name for f in fields(TaggerConfig)} - {"model"}
    recipe = {k: v for k, v in card.get("config", {}).items() if k in known}
    base = TaggerConfig(**{**recipe, "name": name, "version": "1", "model": model})
    return replace(
        base,
        seed=seed,
        model=replace(model, classes=count),
        batch=128,
        steps=steps,
        until_loss=0.0,
        patience=0,
        keep_at=(),
        frozen=frozen(tagger.layer_names(model), layers) if layers else (),
        warmup=min(50, steps // 4),
        learning_rate=rate,
        decay_rate=0.0,
        decay_steps=0,
        decay_from=0,
        own_share=0.0 if share == 1.0 else share,
        teachers=(),
        average=0.99,
        validation=held_out,
        validate_every=max(1, steps // 8),
        checkpoint_every=max(1, steps // 4),
    )


def _row(
    name: str,
    model: TaggerModelConfig,
    params: Params,
    card: dict[str, Any],
    own: Path,
    gunshots: tuple[int, ...],
    held_out: float,
) -> dict[str, Any]:
    store = ClipStore(own)
    _, held = split(store, held_out)
    batches = batch_in_order((store[n] for n in held), AT_ONCE, model.classes)
    scores, truth = scored(model, params, batches)
    some = list(gunshots)
    shot, highest = np.asarray(truth[:, some].any(axis=1)), scores[:, some].max(axis=1)
    point = card.get("operating_points", {}).get(card.get("default_point"), {"threshold": 0.5})
    alarms = highest >= point["threshold"]
    figures = metrics.compute_metrics(scores, truth)
    return {
        "model": name,
        "threshold": round(point["threshold"], 3),
        "hits": f"{int((alarms & shot).sum())} / {int(shot.sum())}",
        "false alarms": f"{int((alarms & ~shot).sum())} / {int((~shot).sum())}",
        "ap": round(metrics.average_precision(highest, shot), 3) if shot.any() else None,
        "hit_at_1": round(figures["hit_at_1"], 3),
        "map": round(figures["map"], 3),
    }
