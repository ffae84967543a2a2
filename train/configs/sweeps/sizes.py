"""What quality costs: networks of a few minutes' training each, from the smallest to twice ours.

    python -m train mixtures .cache/val-small --reels 20 --bursts 0
    python -m train sweep sizes --val .cache/val-small
    python -m benchmarks frontier

2,000 steps for each, less than a quarter of the recipe's: they are to be compared with each
other. `benchmarks frontier` sets their recall beside their cost on this machine.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from train.configs.second import CONFIG
from train.detector.config import TrainConfig

BASE = replace(
    CONFIG, steps=2_000, warmup=100, mine_every=1_000, validate_every=1_000, checkpoint_every=500
)


def _shaped(**changes: Any) -> TrainConfig:
    return replace(BASE, model=replace(BASE.model, **changes))


def _sized(patch: int, width: int, cells: int, residual: int, **changes: Any) -> TrainConfig:
    dilations = tuple((3, 1 << i) for i in range(residual))
    conv = ((patch, 5, 2), (width, 5, 2))
    return _shaped(conv=conv, residual=dilations, cells=(cells,), **changes)


TRIALS: dict[str, TrainConfig] = {
    "least": _sized(8, 32, 32, 1, backgrounds=(100,)),
    "tiny": _sized(8, 48, 48, 2),
    "narrow": _sized(12, 64, 64, 3),
    "second": BASE,
    "second, two LSTMs": _shaped(cells=(96, 96)),
    "second, no residual": _sized(16, 96, 128, 0),
    "large": _sized(24, 144, 144, 4),
    "second, hop of 20 ms": replace(
        _shaped(conv=((16, 5, 1), (96, 5, 2))), frontend=replace(BASE.frontend, hop=320)
    ),
}
