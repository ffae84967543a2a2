"""The report's tagger, faithful: the YouTube-8M starter code's frame-level LSTM.

python -m train loss-study lstm_yt8m docs/audioset --test ../shared/data/audioset/eval_half.tar.xz

An hour on two cores to a loss of 0.01, in 4,589 steps; on the shared half of eval a MAP of 0.155
and a GAP of 0.253 there, of 0.229 and 0.351 at its optimum on held-out clips, in step 825.

Two layers of 1,024 cells, the last state of both into a mixture of two experts; Adam. The rate is
0.001, not the starter code's 0.01, at which this network learns nothing; and it falls from epoch 22
on, not by a twentieth after every four million clips, or the loss would be at 0.35 for hours.
"""

from train.tagging.config import TaggerConfig, TaggerModelConfig

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
