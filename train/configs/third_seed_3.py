"""`third` with seed 3, to see how much its figures depend on the seed.

python -m train recipe third_seed_3 my-bundle
"""

from dataclasses import replace

from train.configs.third import CONFIG as THIRD

CONFIG = replace(THIRD, name="streamdet-third-seed-3", verifier="third_verifier_seed_3", seed=3)
