"""A teacher of `audioset_lstm`: a wide dense layer and an attention for each class, no LSTM.

    python -m train fit audioset_teacher_1

Time: under 3 min on two cores. Score: MAP 0.359 on the held-out clips.
"""

from streamdet.model.config import TaggerModelConfig
from train.tagging.config import TaggerConfig

CONFIG = TaggerConfig(
    name="audioset-teacher-1",
    version="1",
    model=TaggerModelConfig(cells=(), dense=1024),
    steps=1_320,
    warmup=100,
    dropout=0.5,
    mixup=0.5,
    spliced=0.1,
    shortest=6,
    balanced_share=0.25,
    average=0.999,
    validate_every=165,
    checkpoint_every=330,
)
