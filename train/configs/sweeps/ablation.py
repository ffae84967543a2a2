"""What each part of the recipe contributes: short runs with one part left out or changed.

    python -m train mixtures .cache/val-small --reels 10 --bursts 0
    python -m train sweep ablation --val .cache/val-small

Each run has 500 steps of half a batch, a thirty-sixth of the recipe's scenes. Compare the rows
with each other and with the spread of the seeds, not with the shipped bundle. Score of the first
row: best error rate 1.000 on rare scenes and 0.930 on film (docs/model.md).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from train.configs.second import CONFIG
from train.detector.config import DetectorConfig

BASE = replace(
    CONFIG,
    batch=16,
    steps=500,
    warmup=50,
    mine_every=300,
    validate_every=500,
    checkpoint_every=500,
)


def _replace_mix(**changes: Any) -> DetectorConfig:
    return replace(BASE, mix=replace(BASE.mix, **changes))


def _replace_model(**changes: Any) -> DetectorConfig:
    return replace(BASE, model=replace(BASE.model, **changes))


TRIALS: dict[str, DetectorConfig] = {
    "the recipe, seed 1": BASE,
    "the recipe, seed 1 again": BASE,
    "the recipe, seed 2": replace(BASE, seed=2),
    "the recipe, seed 3": replace(BASE, seed=3),
    "no view over the backgrounds": _replace_model(backgrounds=()),
    "one background of 1 s": _replace_model(backgrounds=(100,)),
    "no hard negatives": _replace_mix(no_negative=1.0),
    "no mining": replace(BASE, mine_every=0),
    "no Muon": replace(BASE, matrix_rate=0.0),
    "no loss on the peaks of seconds": replace(BASE, segment_weight=0.0),
    "no tagger's opinion": replace(BASE, teacher_weight=0.0),
    "no rooms, streets, open ground, distance": _replace_mix(
        room=0.0, outdoor=0.0, street=0.0, distance=0.0
    ),
    "thrice as many rooms, streets, open ground, distance": _replace_mix(
        room=0.3, outdoor=0.15, street=0.15, distance=0.45
    ),
    "no colour, varispeed": _replace_mix(colour=0.0, varispeed=0.0),
    "no recorder: codecs, gain, clipping, band, drop-outs": _replace_mix(
        codec=0.0,
        limiter=0.0,
        gain_control=0.0,
        clipping=0.0,
        offset=0.0,
        drop_outs=0.0,
        narrow_band=0.0,
    ),
    "no spliced or dried sounds, no deaf bands": replace(
        _replace_mix(spliced=0.0, dried=0.0), band_mask=0.0
    ),
    "no strikes, cuts, layers, machinery": _replace_mix(
        synthetic_strike=0.0, cut=0.0, layered=0.0, machinery=0.0
    ),
    "no speech or music over shots": _replace_mix(speech=0.0, music=0.0),
    "no events above 20 dB": _replace_mix(
        ebr_db=((0.05, -10.0, -6.0), (0.5, -6.0, 8.0), (0.45, 8, 20))
    ),
    "no quiet scenes": _replace_mix(quiet_bed=0.0),
    "no bursts": _replace_mix(burst=0.0),
    "no synthetic blasts": _replace_mix(synthetic_shot=0.0),
    "no forest shots, weak or located": replace(
        _replace_mix(weak_shot=0.0, field_shot=0.0), bag_weight=0.0
    ),
    "no repeated batches": replace(BASE, echo=1),
    "no averaged weights": replace(BASE, average=0.0),
    "no dropout, no weight decay": replace(BASE, dropout=0.0, matrix_decay=0.0),
    "no kernel over the bands": _replace_model(conv=((96, 5, 2), (96, 5, 2)), patch=None),
    "no residual convolutions": _replace_model(residual=()),
}
