"""The first shipped detector: 64 log-mel bands, two convolutions, two LSTM(128).

python -m train fit first
"""

from train.data.config import MixConfig
from train.detector.config import TrainConfig

CONFIG = TrainConfig(
    name="streamdet-first",
    version="1",
    mix=MixConfig(scene_s=6.0),
    batch=24,
    steps=8_000,
    warmup=300,
)
