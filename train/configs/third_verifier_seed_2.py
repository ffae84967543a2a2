"""`third_verifier` with seed 2.

    python -m train fit third_verifier_seed_2

Time: as for `third_verifier`. Score on val after 2,000 steps, where the only run was stopped: event
error rate 0.417 on rare shots, 0.500 on film-like reels and 0.084 in the city.
"""

from dataclasses import replace

from train.configs.third_verifier import CONFIG as THIRD

CONFIG = replace(THIRD, name="streamdet-third-verifier-seed-2", seed=2)
