"""What ended runs leave to others: their best weights, and what they hear in every clip."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from streamdet.model.config import Params
from train.audioset.batches import batch_in_order
from train.audioset.store import ClipStore
from train.detector import journal
from train.errors import TrainError
from train.tagging.config import TaggerConfig
from train.tagging.scoring import AT_ONCE, load, scored

BEST = "best"


def best_params(config: TaggerConfig, run: Path) -> Params:
    """The weights of a run's highest MAP on its held-out clips, as numpy arrays. Raises TrainError
    where there are none, or of another network."""
    model, params, _ = load(run / BEST)
    if model != config.model:
        raise TrainError(f"{run}: a run of another network than {config.name} has now")
    return params


def probabilities(config: TaggerConfig, store: ClipStore, runs: Path) -> np.ndarray | None:
    """The mean of what the config's teachers, whose runs lie in ``runs``, say of every clip of
    the store, (clips, classes) float16; None where it has none. Raises TrainError where one of
    them has not ended."""
    from train.detector.config import load_any

    total: Any = 0.0
    for name in config.teachers:
        taught = load_any(name)
        if not isinstance(taught, TaggerConfig) or journal.concluded(runs / name) is None:
            raise TrainError(
                f"{config.name}: its teacher {name} has no ended run in {runs}; "
                f"run `python -m train fit {name}` first"
            )
        batches = batch_in_order(
            (store[n] for n in range(len(store))), AT_ONCE, taught.model.classes
        )
        total = total + scored(taught.model, best_params(taught, runs / name), batches)[0]
    return (total / len(config.teachers)).astype(np.float16) if config.teachers else None
