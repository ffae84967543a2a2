"""A short run of `second`, to show adaptation on: a detector that has never been trained on the
gunshots of films and games.

    python -m train data select .cache/shift/old --having category=gunshot,kind=effect --others
    python -m train prepare --data .cache/shift/old --cache .cache/shift/corpus
    python -m train fit field --cache .cache/shift/corpus

Time: not recorded; a twentieth of the scenes of `second`, which takes 42 min on two cores. Score
on the 776 old val clips: average precision 0.363 (docs/training.md).
"""

from dataclasses import replace

from train.configs.second import CONFIG as SECOND

CONFIG = replace(
    SECOND,
    name="streamdet-field",
    version="1",
    batch=16,
    steps=900,
    warmup=80,
    mine_every=300,
    validate_every=300,
    checkpoint_every=300,
)
