"""The second detector: log-mel bands as they are and over their background, kernels that slide
over pitch as well as time, residual convolutions, an LSTM(160).

python -m train fit second
"""

from streamdet.model.lstm import ModelConfig
from train.config import TrainConfig
from train.data.labels import LABELS

CONFIG = TrainConfig(
    name="streamdet-second",
    version="1",
    model=ModelConfig(
        conv=((24, 5, 2), (160, 5, 2)),
        patch=(8, 4),
        residual=((3, 1), (3, 2), (3, 4)),
        cells=(160,),
        norm_cells=True,
        background=100,
        labels=LABELS,
    ),
    learning_rate=2e-3,
    matrix_rate=5e-3,
    matrix_decay=0.1,
    batch=32,
    echo=2,
    steps=13_000,
    warmup=300,
    dropout=0.1,
    average=0.999,
    segment_weight=0.5,
    bag_weight=0.1,
    teacher_weight=1.0,
    mine_every=2_000,
    validate_every=1_000,
    checkpoint_every=500,
)
