"""The frame-level LSTM of the YouTube-8M starter code, as in the report: two layers of 1,024 cells,
the last state of both into a mixture of two experts, and Adam.

python -m train loss-study lstm_yt8m docs/audioset --test ../shared/data/audioset/eval_half.tar.xz

Time: about an hour on two cores to a loss of 0.01, in 4,589 steps. Score on half of AudioSet's
eval set: MAP 0.155 and GAP 0.253 at that loss; MAP 0.229 and GAP 0.351 at the best validation, in
step 825.

The rate is 0.001, because the network learns nothing at the starter code's 0.01. It falls from
epoch 22 on, not by a twentieth after every four million clips; otherwise the loss would stay at
0.35 for hours.
"""

from streamdet.model.config import TaggerModelConfig
from train.tagging.config import TaggerConfig

CONFIG = TaggerConfig(
    name="lstm-yt8m",
    version="1",
    model=TaggerModelConfig(pooling="last_state", cells=(1024, 1024), mixtures=2),
    batch=128,
    steps=60_000,
    until_loss=0.01,
    keep_at=(4.0, 3.35, 1.0, 0.6, 0.06, 0.01),
    learning_rate=0.001,
    decay_rate=0.6,
    decay_steps=250,
    decay_from=3_630,
    validate_every=165,
    checkpoint_every=330,
)
