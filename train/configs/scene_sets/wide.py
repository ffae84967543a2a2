"""The scenes that teachers answer and students learn: all sounds, city sensors in their own
background, cut streams, narrow bands and pairs of microphones.

    python -m train scenes wide
"""

from dataclasses import replace

from train.configs.second import CONFIG as SECOND
from train.data.config import SceneSetConfig

CONFIG = SceneSetConfig(
    mix=replace(
        SECOND.mix,
        field_shot=0.08,
        recorded_scene=0.06,
        digital_silence=0.05,
        two_microphones=0.05,
        narrow_band=0.2,
    ),
    seed=22,
    count=24_576,
    mined_by="tiny",
    heads=("teacher_head_1", "teacher_head_2"),
)
