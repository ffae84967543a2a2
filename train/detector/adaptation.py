"""A detector goes on learning from a user's own recordings: `adapt` and `transfer`.

Adapting mixes own clips into the old ones, which are replayed so that nothing is forgotten;
transfer keeps the lower layers and teaches the upper ones own clips alone. Both come to a bundle
with operating points of its own, and to hits and false alarms on the held-out own clips, before
and after.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from streamdet.model import network
from streamdet.model.bundle import Bundle
from streamdet.model.config import FrontendConfig, ModelConfig
from train.data.config import MixConfig
from train.data.corpus import Corpus, prepare_corpus
from train.detector import export, loop
from train.detector.config import TrainConfig
from train.detector.freezing import frozen
from train.errors import TrainError
from train.evaluation import metrics, scored_sets


@dataclass(frozen=True)
class Own:
    """What a user asks for: ``share`` of the sounds are own ones (1: all of them, but for beds
    where there are none), ``steps`` at ``rate``, only the last ``layers`` trained (0: all)."""

    data: Path
    share: float
    steps: int
    rate: float
    layers: int = 0
    seed: int = 1


def config_of(bundle: Bundle, own: Own, kind: str) -> TrainConfig:
    """The config of a run that begins from a bundle: its own recipe's, changed as asked; raises
    TrainError where the bundle is no detector's."""
    model, front = bundle.model, bundle.frontend
    if not isinstance(model, ModelConfig) or not isinstance(front, FrontendConfig):
        raise TrainError(f"{bundle.name}: not a detector over log-mel frames")
    recipe: dict[str, Any] = dict(bundle.card.get("config", {}))
    known = {f.name for f in fields(TrainConfig)}
    mix = _known(MixConfig, recipe.pop("mix", {}))
    base = TrainConfig(
        **{
            **{k: _tuples(v) for k, v in recipe.items() if k in known},
            "frontend": front,
            "model": model,
            "mix": mix,
        }
    )
    alone = own.share == 1.0
    return replace(
        base,
        name=f"{bundle.name}-{kind}",
        start="",
        seed=own.seed,
        mix=replace(
            mix,
            own_share=own.share,
            synthetic_shot=0.0 if alone else mix.synthetic_shot,
            synthetic_strike=0.0 if alone else mix.synthetic_strike,
        ),
        steps=own.steps,
        warmup=min(50, own.steps // 4),
        learning_rate=own.rate,
        matrix_rate=0.0,
        until_loss=0.0,
        patience=0,
        keep_at=(),
        frozen=frozen(network.layer_names(model), own.layers) if own.layers else (),
        average=0.99,
        echo=1,
        teacher_weight=0.0,
        mine_every=0,
        validate_every=max(1, own.steps // 4),
        checkpoint_every=max(1, own.steps // 4),
    )


def run(
    bundle: Bundle,
    own: Own,
    kind: str,
    cache: Path,
    folder: Path,
    val: Path,
    to: Path,
    old: Path | None = None,
    workers: int = 1,
    hours: float = float("inf"),
) -> list[dict[str, Any]] | None:
    """Train, export to ``to``, and score before and after on the val clips of the own data folder
    and of the ``old`` one, if given; the rows of a table, or None where the time was over before
    the run was."""
    config = config_of(bundle, own, kind)
    prepared = folder / "own"
    if not (prepared / "clips.json").is_file():
        prepare_corpus(own.data, prepared)
    state = loop.fit(config, cache, folder, workers, hours, bundle.params, prepared)
    if int(state.step) < config.steps:
        return None
    made = export.export(
        config, f"{kind} of {bundle.name}", Corpus(cache, prepared), folder, val, to
    )
    rows = []
    for moment, heard in (("before", bundle), ("after", made)):
        threshold = heard.operating_points[heard.default_point].threshold
        row = {"model": moment, "threshold": round(threshold, 3), **scored(heard, own.data)}
        if old is not None:
            row |= {f"old {name}": value for name, value in scored(heard, old).items()}
        rows.append(row)
    return rows


def scored(bundle: Bundle, data: Path, split: str = "val") -> dict[str, Any]:
    """Hits and false alarms of a bundle at its default point on the held-out clips of a data
    folder, each clip alone after 0.4 s of faint noise; and its average precision."""
    clips = scored_sets.score_clips(bundle, data, split, lead_s=0.4)
    shot = np.array([c.category == "gunshot" for c in clips], bool)
    scores = np.array([c.score for c in clips])
    alarms = scores >= bundle.operating_points[bundle.default_point].threshold
    ranked = bool(shot.any() and not shot.all())
    return {
        "hits": f"{int((alarms & shot).sum())} / {int(shot.sum())}",
        "false alarms": f"{int((alarms & ~shot).sum())} / {int((~shot).sum())}",
        "ap": round(metrics.average_precision(shot, scores), 3) if ranked else None,
    }


def as_markdown(rows: Sequence[dict[str, Any]]) -> str:
    """The rows as a table."""
    head = list(rows[0])
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    return "\n".join(lines + ["| " + " | ".join(str(r[k]) for k in head) + " |" for r in rows])


def _known(kind: type[MixConfig], values: dict[str, Any]) -> MixConfig:
    names = {f.name for f in fields(kind)}
    return kind(**{k: _tuples(v) for k, v in values.items() if k in names})


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
