"""A teacher of `audioset_lstm`: the first one wider, from another seed, its clips mixed otherwise.

python -m train fit audioset_teacher_3
"""

from dataclasses import replace

from train.configs.audioset_teacher_1 import CONFIG as FIRST

CONFIG = replace(
    FIRST,
    name="audioset-teacher-3",
    seed=3,
    model=replace(FIRST.model, dense=2048),
    dropout=0.6,
    spliced=0.0,
    mixup=1.0,
    balanced_share=0.25,
)
