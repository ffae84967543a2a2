"""What each part of the teaching contributes: short runs of the first stage with one part left out.

    python -m train teach wide
    python -m train mixtures .cache/val-small --reels 20 --bursts 0
    python -m train sweep teaching --val .cache/val-small

Each run has 1,000 steps, a sixth of the recipe's. Compare the rows with each other, not
with the shipped bundle.
"""

from dataclasses import replace

from train.configs.third import CONFIG

BASE = replace(
    CONFIG, verifier="", steps=1_000, warmup=100, validate_every=1_000, checkpoint_every=500
)

TRIALS = {
    "the recipe, seed 1": BASE,
    "the recipe, seed 2": replace(BASE, seed=2),
    "no posterior of the heads": replace(BASE, posterior_weight=0.0),
    "no classes of the taggers": replace(BASE, teacher_weight=0.0),
    "no features of the taggers": replace(BASE, feature_weight=0.0),
    "the posterior without delay": replace(BASE, posterior_delay=0),
    "no teacher": replace(BASE, posterior_weight=0.0, teacher_weight=0.0, feature_weight=0.0),
}
