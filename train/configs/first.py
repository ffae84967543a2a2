"""The first detector: 64 log-mel bands, two convolutions, two LSTM(128).

    python -m train recipe first my-bundle

Score on the test split: event error rate 0.750 on rare shots and 0.800 on film (docs/model.md).
The time was not recorded.
"""

from train.data.config import MixConfig
from train.detector.config import DetectorConfig

CONFIG = DetectorConfig(
    name="streamdet-first",
    version="1",
    mix=MixConfig(scene_s=6.0),
    batch=24,
    steps=8_000,
    warmup=300,
)
