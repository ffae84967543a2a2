"""A teacher of `audioset_lstm`: no LSTM, a wide dense layer and an attention for each class.

python -m train fit audioset_teacher_1
"""

from streamdet.model.tagger import TaggerModel
from train.tagging.config import TaggerConfig

CONFIG = TaggerConfig(
    name="audioset-teacher-1",
    version="1",
    model=TaggerModel(cells=(), dense=1024),
    steps=990,
    warmup=100,
    learning_rate=4e-3,
    weight_decay=0.3,
    dropout=0.5,
    mixup=2.0,
    spliced=0.1,
    shortest=6,
    balanced_share=0.25,
    average=0.999,
    validate_every=165,
    checkpoint_every=330,
)
