"""Adaptation of a detector to a user's own recordings: `adapt` and `transfer`.

`adapt` mixes own clips with the old ones, which are replayed so that nothing is forgotten.
`transfer` freezes the lower layers and trains the upper ones on own clips alone. Both write a
bundle with operating points of its own, and count hits and false alarms on the held-out own
clips before and after.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from streamdet.model import network
from streamdet.model.bundle import Bundle
from streamdet.model.config import FrontendConfig, ModelConfig
from train.data.config import MixConfig
from train.data.corpus import Corpus, hash_manifest, prepare_corpus
from train.detector import export, journal, loop
from train.detector.config import DetectorConfig
from train.detector.freezing import list_frozen_layers
from train.detector.run import check_inputs
from train.errors import TrainError
from train.evaluation import scored_sets
from train.ranking import average_precision


@dataclass(frozen=True)
class AdaptationRequest:
    """What a user asks for: training on the folder ``data`` for ``steps`` at ``rate``.

    ``share`` is the share of own sounds; at 1 all sounds are own ones, except backgrounds if the
    folder has none. ``layers`` is the number of last layers to train (0: all).
    """

    data: Path
    share: float
    steps: int
    rate: float
    layers: int = 0
    seed: int = 1


def make_adaptation_config(bundle: Bundle, request: AdaptationRequest, kind: str) -> DetectorConfig:
    """The config of a run that begins from a bundle: the config on its card, changed as
    requested. Raises TrainError if the bundle is not a log-mel detector."""
    model, frontend = bundle.model, bundle.frontend
    if not isinstance(model, ModelConfig) or not isinstance(frontend, FrontendConfig):
        raise TrainError(f"{bundle.name}: not a detector over log-mel frames")
    recipe: dict[str, Any] = dict(bundle.card.get("config", {}))
    known = {f.name for f in fields(DetectorConfig)}
    mix = _make_mix_config(recipe.pop("mix", {}))
    base = DetectorConfig(
        **{
            **{k: _to_tuples(v) for k, v in recipe.items() if k in known},
            "frontend": frontend,
            "model": model,
            "mix": mix,
        }
    )
    frozen = ()
    if request.layers:
        frozen = list_frozen_layers(network.layer_names(model), request.layers)
    own_only = request.share == 1.0
    quarter = max(1, request.steps // 4)
    return replace(
        base,
        name=f"{bundle.name}-{kind}",
        start="",
        seed=request.seed,
        mix=replace(
            mix,
            own_share=request.share,
            synthetic_shot=0.0 if own_only else mix.synthetic_shot,
            synthetic_strike=0.0 if own_only else mix.synthetic_strike,
        ),
        steps=request.steps,
        warmup=min(50, request.steps // 4),
        learning_rate=request.rate,
        matrix_rate=0.0,
        until_loss=0.0,
        patience=0,
        keep_at=(),
        frozen=frozen,
        average=0.99,
        echo=1,
        teacher_weight=0.0,
        mine_every=0,
        validate_every=quarter,
        checkpoint_every=quarter,
    )


def adapt_detector(
    bundle: Bundle,
    request: AdaptationRequest,
    kind: str,
    cache: Path,
    folder: Path,
    val: Path,
    to: Path,
    old: Path | None = None,
    workers: int = 1,
    hours: float = float("inf"),
) -> list[dict[str, Any]] | None:
    """Train from ``bundle`` in the run ``folder``, export to ``to``, and score both bundles.

    ``cache`` holds the old clips, prepared; ``val`` the scenes to choose thresholds on. Returns a
    row for each bundle, scored on the val clips of the own data folder and of the ``old`` one if
    given; None if ``hours`` were over before the run was. Raises TrainError if ``folder`` holds a
    run with another base or other own clips.
    """
    config = make_adaptation_config(bundle, request, kind)
    check_inputs(folder, base=bundle.sha256, own=hash_manifest(request.data))
    prepared = folder / "own"
    if not (prepared / "clips.json").is_file():
        prepare_corpus(request.data, prepared)
    loop.fit(config, cache, folder, workers, hours, bundle.params, prepared)
    if journal.read_summary(folder) is None:
        return None
    corpus = Corpus(cache, prepared)
    trained_with = f"{kind} of {bundle.name}"
    adapted = export.export_detector(config, trained_with, corpus, folder, val, to)
    rows = []
    for name, scored in (("before", bundle), ("after", adapted)):
        threshold = scored.operating_points[scored.default_point].threshold
        row = {"model": name, "threshold": round(threshold, 3)}
        row |= count_clip_hits(scored, request.data)
        if old is not None:
            row |= {f"old {key}": value for key, value in count_clip_hits(scored, old).items()}
        rows.append(row)
    return rows


def count_clip_hits(bundle: Bundle, data: Path, split: str = "val") -> dict[str, Any]:
    """Hits and false alarms of a bundle at its default point on the clips of a split, each alone
    after 0.4 s of faint noise, and its average precision (None without both kinds of clips)."""
    clips = scored_sets.score_clips(bundle, data, split, lead_s=scored_sets.CLIP_LEAD_S)
    is_shot = np.array([c.category == "gunshot" for c in clips], bool)
    scores = np.array([c.score for c in clips])
    alarms = scores >= bundle.operating_points[bundle.default_point].threshold
    has_both = bool(is_shot.any() and not is_shot.all())
    return {
        "hits": f"{int((alarms & is_shot).sum())} / {int(is_shot.sum())}",
        "false alarms": f"{int((alarms & ~is_shot).sum())} / {int((~is_shot).sum())}",
        "ap": round(average_precision(scores, is_shot), 3) if has_both else None,
    }


def _make_mix_config(values: dict[str, Any]) -> MixConfig:
    names = {f.name for f in fields(MixConfig)}
    return MixConfig(**{k: _to_tuples(v) for k, v in values.items() if k in names})


def _to_tuples(value: Any) -> Any:
    return tuple(map(_to_tuples, value)) if isinstance(value, list) else value
