"""What each part of the recipe gives: short runs of it with one part left out or put in.

    python -m train mixtures .cache/val-small --reels 10 --bursts 0
    python -m train sweep ablation --val .cache/val-small

500 steps of half a batch are a thirty-sixth of the recipe's: rows are to be compared with each
other and with the spread of the seeds, not with the shipped bundle.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from train.configs.second import CONFIG
from train.detector.config import TrainConfig

BASE = replace(
    CONFIG,
    batch=16,
    steps=500,
    warmup=50,
    mine_every=300,
    validate_every=500,
    checkpoint_every=500,
)


def _mixed(**changes: Any) -> TrainConfig:
    return replace(BASE, mix=replace(BASE.mix, **changes))


def _shaped(**changes: Any) -> TrainConfig:
    return replace(BASE, model=replace(BASE.model, **changes))


TRIALS: dict[str, TrainConfig] = {
    "the recipe, seed 1": BASE,
    "the recipe, seed 1 again": BASE,
    "the recipe, seed 2": replace(BASE, seed=2),
    "the recipe, seed 3": replace(BASE, seed=3),
    "no view over the backgrounds": _shaped(backgrounds=()),
    "one background of 1 s": _shaped(backgrounds=(100,)),
    "no hard negatives": _mixed(no_negative=1.0),
    "no mining": replace(BASE, mine_every=0),
    "no Muon": replace(BASE, matrix_rate=0.0),
    "no loss on the peaks of seconds": replace(BASE, segment_weight=0.0),
    "no tagger's opinion": replace(BASE, teacher_weight=0.0),
    "no rooms, streets, open ground, distance": _mixed(
        room=0.0, outdoor=0.0, street=0.0, distance=0.0
    ),
    "thrice as many rooms, streets, open ground, distance": _mixed(
        room=0.3, outdoor=0.15, street=0.15, distance=0.45
    ),
    "no colour, varispeed": _mixed(colour=0.0, varispeed=0.0),
    "no recorder: codecs, gain, clipping, band, drop-outs": _mixed(
        codec=0.0,
        limiter=0.0,
        gain_control=0.0,
        clipping=0.0,
        offset=0.0,
        drop_outs=0.0,
        narrow_band=0.0,
    ),
    "no spliced or dried sounds, no deaf bands": replace(
        _mixed(spliced=0.0, dried=0.0), band_mask=0.0
    ),
    "no strikes, cuts, layers, machinery": _mixed(
        synthetic_strike=0.0, cut=0.0, layered=0.0, machinery=0.0
    ),
    "no speech or music over shots": _mixed(speech=0.0, music=0.0),
    "no events above 20 dB": _mixed(ebr_db=((0.05, -10.0, -6.0), (0.5, -6.0, 8.0), (0.45, 8, 20))),
    "no quiet scenes": _mixed(quiet_bed=0.0),
    "no bursts": _mixed(burst=0.0),
    "no synthetic blasts": _mixed(synthetic_shot=0.0),
    "no forest shots, weak or located": replace(
        _mixed(weak_shot=0.0, field_shot=0.0), bag_weight=0.0
    ),
    "no repeated batches": replace(BASE, echo=1),
    "no averaged weights": replace(BASE, average=0.0),
    "no dropout, no weight decay": replace(BASE, dropout=0.0, matrix_decay=0.0),
    "no kernel over the bands": _shaped(conv=((96, 5, 2), (96, 5, 2)), patch=None),
    "no residual convolutions": _shaped(residual=()),
}
