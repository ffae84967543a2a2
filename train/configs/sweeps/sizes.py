"""What quality costs: networks from the smallest to twice the size of `second`, trained for a few
minutes each.

    python -m train mixtures .cache/val-small --reels 20 --bursts 0
    python -m train sweep sizes --val .cache/val-small
    python -m benchmarks frontier

Each run has 2,000 steps, less than a quarter of the recipe's; compare the rows with each other.
`benchmarks frontier` lists their recall beside their cost on this machine. Score of `second`: best
error rate 0.533 on rare scenes and 0.730 on film (docs/model.md).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from train.configs.second import CONFIG
from train.detector.config import DetectorConfig

BASE = replace(
    CONFIG, steps=2_000, warmup=100, mine_every=1_000, validate_every=1_000, checkpoint_every=500
)


def _replace_model(**changes: Any) -> DetectorConfig:
    return replace(BASE, model=replace(BASE.model, **changes))


def _make_network(
    patch: int, width: int, cells: int, residual: int, **changes: Any
) -> DetectorConfig:
    dilations = tuple((3, 1 << i) for i in range(residual))
    conv = ((patch, 5, 2), (width, 5, 2))
    return _replace_model(conv=conv, residual=dilations, cells=(cells,), **changes)


TRIALS: dict[str, DetectorConfig] = {
    "least": _make_network(8, 32, 32, 1, backgrounds=(100,)),
    "tiny": _make_network(8, 48, 48, 2),
    "narrow": _make_network(12, 64, 64, 3),
    "second": BASE,
    "second, two LSTMs": _replace_model(cells=(96, 96)),
    "second, no residual": _make_network(16, 96, 128, 0),
    "large": _make_network(24, 144, 144, 4),
    "second, hop of 20 ms": replace(
        _replace_model(conv=((16, 5, 1), (96, 5, 2))), frontend=replace(BASE.frontend, hop=320)
    ),
}
