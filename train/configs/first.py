"""The first shipped detector: 0.36 M parameters, 64 log-mel bands, two LSTM(128).

python -m train fit first
"""

from train.config import TrainConfig

CONFIG = TrainConfig(name="streamdet-first", version="1", steps=5_000)
