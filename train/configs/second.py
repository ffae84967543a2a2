"""The second detector: log-mel bands as they are and over three backgrounds,
a kernel that slides over pitch and time, residual convolutions, and an LSTM(96).

    python -m train recipe second my-bundle

Time: about an hour on two cores, 42 min of it for training. Score on val: event error rate 0.475
on rare shots and 0.665 on film-like reels.
"""

from streamdet.model.config import ModelConfig
from train.data.config import MixConfig
from train.data.labels import LABELS
from train.detector.config import DetectorConfig

CONFIG = DetectorConfig(
    name="streamdet-second",
    version="1",
    model=ModelConfig(
        conv=((16, 5, 2), (96, 5, 2)),
        patch=(8, 4),
        residual=((3, 1), (3, 2), (3, 4)),
        cells=(96,),
        norm_cells=True,
        backgrounds=(25, 100, 400),
        labels=LABELS,
    ),
    mix=MixConfig(
        max_shots=2,
        max_negatives=3,
        burst=0.2,
        field_shot=0.06,
        weak_shot=0.02,
        synthetic_strike=0.12,
        machinery=0.15,
        layered=0.1,
        spliced=0.2,
        dried=0.15,
        at_start=0.08,
        room=0.1,
        outdoor=0.05,
        street=0.05,
        distance=0.15,
        colour=0.3,
        varispeed=0.3,
        limiter=0.05,
        gain_control=0.03,
        clipping=0.03,
    ),
    learning_rate=2e-3,
    matrix_rate=5e-3,
    matrix_decay=0.1,
    batch=32,
    echo=3,
    recolour_db=5.0,
    band_mask=0.1,
    steps=9_000,
    warmup=300,
    dropout=0.2,
    average=0.999,
    segment_weight=0.5,
    bag_weight=0.1,
    teacher_weight=1.0,
    mine_every=1_000,
    validate_every=1_000,
    checkpoint_every=500,
)
