"""`third_verifier` with seed 3."""

from dataclasses import replace

from train.configs.third_verifier import CONFIG as THIRD

CONFIG = replace(THIRD, name="streamdet-third-verifier-seed-3", seed=3)
