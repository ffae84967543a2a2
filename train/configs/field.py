"""A quick detector to show adaptation on: it is trained where no sound effect is.

python -m train data select .cache/shift/old --having category=gunshot,kind=effect --others
python -m train prepare --data .cache/shift/old --cache .cache/shift/corpus
python -m train fit field --cache .cache/shift/corpus

The second detector's network and scenes, a fourteenth of its training.
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
