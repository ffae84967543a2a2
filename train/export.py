"""From a run to a bundle: its best weights, operating points from val, and its card."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from streamdet.detect.decision import DecisionConfig
from streamdet.detect.engine import Engine
from streamdet.model import bundle as bundles
from streamdet.model import lstm
from streamdet.model.bundle import Bundle, OperatingPoint
from train import evaluate, loop, metrics
from train.config import TrainConfig
from train.data.corpus import Corpus
from train.evaluate import ScoredFile
from train.failure import TrainError

STRICT_FALSE_ALARMS_H = 6.0
DEFAULT_POINT = "balanced"


def best_params(config: TrainConfig, corpus: Corpus, run: Path) -> lstm.Params:
    """The weights that detected best on val, as numpy arrays, without a teacher's heads."""
    if not (run / "best").is_dir():
        raise TrainError(f"{run}: no finished validation; run `python -m train fit` first")
    like = lstm.init_params(loop.with_teacher(config, corpus).model, jax.random.key(0))
    with ocp.StandardCheckpointer() as checkpointer:
        params = jax.tree.map(np.asarray, checkpointer.restore((run / "best").absolute(), like))
    own = len(config.model.labels)
    return {**params, "head": {name: x[..., :own] for name, x in params["head"].items()}}


def choose_points(bundle: Bundle, files: Sequence[ScoredFile]) -> dict[str, OperatingPoint]:
    """Thresholds by name, and what each measured on all val scenes.

    "sensitive" has the best onset F1 (DCASE 2017 task 2) on the rare shots, "balanced" the
    best event F1 over all scenes, "strict" the most hits with at most 6 false alarms an
    hour over all of them.
    """
    grid = Engine(bundle).grid
    hours = sum(len(f.frames.level) for f in files) * grid.frame / grid.rate / 3600
    rare = [f for f in files if f.name.startswith("rare/")]
    rows = [
        evaluate.at_threshold(grid, files, DecisionConfig(threshold))
        for threshold in evaluate.candidate_thresholds()
    ]
    onsets = [
        evaluate.at_threshold(grid, rare, DecisionConfig(r.threshold), metrics.onset_match).f1
        for r in rows
    ]
    fitting = [r for r in rows if r.false_alarms / hours <= STRICT_FALSE_ALARMS_H]
    chosen = {
        "sensitive": rows[onsets.index(max(onsets))],
        "balanced": max(rows, key=lambda r: r.f1),
        "strict": max(fitting, key=lambda r: r.hits, default=rows[-1]),
    }
    return {
        name: OperatingPoint(
            round(row.threshold, 4),
            {
                "val_recall": round(row.recall, 3),
                "val_false_alarms_h": round(row.false_alarms / hours, 2),
                "val_f1": round(row.f1, 3),
                "val_hours": round(hours, 2),
            },
        )
        for name, row in chosen.items()
    }


def export(
    config: TrainConfig, config_name: str, corpus: Corpus, run: Path, val: Path, to: Path
) -> Bundle:
    """Write the bundle to ``to`` and read it back."""
    params = best_params(config, corpus, run)
    about = {
        "licence": "Apache-2.0",
        "trained_with": f"python -m train fit {config_name}",
        "config": asdict(config),
        "seed": config.seed,
        "commit": (run / loop.COMMIT).read_text().strip(),
        "data": data_sources(corpus),
    }

    def write(points: dict[str, OperatingPoint]) -> Bundle:
        bundles.save(
            to,
            name=config.name,
            version=config.version,
            frontend=config.frontend,
            model=config.model,
            params=params,
            operating_points=points,
            default_point=DEFAULT_POINT,
            about=about,
        )
        return bundles.load(to)

    raw = write({DEFAULT_POINT: OperatingPoint(0.5, {})})
    return write(choose_points(raw, evaluate.hear(raw, val)))


def data_sources(corpus: Corpus) -> list[dict[str, Any]]:
    """Every source and licence that train clips came from, and how many."""
    clips = [c for c in corpus.clips if c.split == "train"]
    counted = Counter((c.source, c.licence) for c in clips)
    rows = [{"source": s, "licence": lic, "clips": n} for (s, lic), n in sorted(counted.items())]
    synthetic = {"source": "synthetic muzzle blasts (streamdet.synth)", "licence": "Apache-2.0"}
    return [*rows, {**synthetic, "clips": 0}]
