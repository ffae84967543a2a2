"""`third_verifier` with seed 2, to see how much its figures depend on the seed.

    python -m train fit third_verifier_seed_2
    python -m train export third_verifier_seed_2 my-bundle --first streamdet/model/zoo/third

Time: 44 min on two cores. Score on val, over all frames: event error rate 0.333 on rare shots,
0.400 on film-like reels and 0.025 in the city. `train/zoo/third-seed-2` is the result.
"""

from dataclasses import replace

from train.configs.third_verifier import CONFIG as THIRD

CONFIG = replace(THIRD, name="streamdet-third-verifier-seed-2", seed=2)
