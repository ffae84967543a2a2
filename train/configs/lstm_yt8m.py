"""The report's tagger, faithful: the YouTube-8M starter code's frame-level LSTM.

python -m train fit lstm_yt8m

Two layers of 1,024 cells, the last state of both into a mixture of two experts; Adam, its rate
0.95 times what it was after every four million clips. The rate begins at 0.001, not at the starter
code's 0.01, at which this network learns nothing.
"""

from train.tagging.config import TaggerConfig, TaggerModel

CONFIG = TaggerConfig(
    name="lstm-yt8m",
    version="1",
    model=TaggerModel(pooling="last_state", cells=(1024, 1024), mixtures=2),
    batch=128,
    steps=60_000,
    until_loss=0.01,
    keep_at=(4.0, 3.35, 1.0, 0.6, 0.06, 0.01),
    learning_rate=0.001,
    decay_rate=0.95,
    decay_steps=31_250,
    validate_every=165,
    checkpoint_every=330,
)
