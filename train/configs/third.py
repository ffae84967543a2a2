"""The third detector's first stage: a smaller `second`, taught by heads on public taggers.

    python -m train recipe third my-bundle

Time: 43 min on one core. Score on val: event error rate 0.442 on rare shots and 0.600 on film-like
reels after 3,000 steps, 0.550 and 0.600 after 6,000. The weights are the mean of both.
"""

from dataclasses import replace

from train.configs.second import CONFIG as SECOND

CONFIG = replace(
    SECOND,
    name="streamdet-third",
    model=replace(SECOND.model, conv=((16, 5, 2), (64, 5, 2)), cells=(72,)),
    scenes="wide",
    verifier="third_verifier",
    steps=6_000,
    echo=2,
    mine_every=0,
    teacher_weight=0.5,
    posterior_weight=1.0,
    posterior_delay=2,
    feature_weight=0.2,
)
