"""`third_verifier` with seed 2."""

from dataclasses import replace

from train.configs.third_verifier import CONFIG as THIRD

CONFIG = replace(THIRD, name="streamdet-third-verifier-seed-2", seed=2)
