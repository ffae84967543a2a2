"""The third detector's first stage: the network of `second`, taught by heads on public taggers.

    python -m train recipe third my-bundle

Time: not run to its end yet; a step takes about 0.6 s of one core. Score on val: not measured yet.
"""

from dataclasses import replace

from train.configs.second import CONFIG as SECOND

CONFIG = replace(
    SECOND,
    name="streamdet-third",
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
