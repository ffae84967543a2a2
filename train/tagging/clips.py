"""What a run of a tagger trains on and is validated on: batches of clips, and those held out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np

from streamdet.model.config import Params
from train.audioset import metrics
from train.audioset.batches import ClipBatch, ClipBatches, batch_in_order
from train.audioset.store import ClipStore
from train.tagging import teachers
from train.tagging.config import TaggerConfig
from train.tagging.scoring import AT_ONCE, scored


def split(store: ClipStore, share: float) -> tuple[np.ndarray, np.ndarray]:
    """The numbers of the clips to train on and of those held out, by the hash of their id."""
    held = store.hashes >= np.uint64(min(2**64 - 1, int((1.0 - share) * 2**64)))
    return np.flatnonzero(~held), np.flatnonzero(held)


class RunClips:
    """The clips of a run: those of the folder ``records`` and, at ``config.own_share`` of each
    batch, a user's ``own``. Taught labels come from the runs in ``runs``."""

    def __init__(self, config: TaggerConfig, records: Path, own: Path | None, runs: Path) -> None:
        self.config = config
        self.stores = [ClipStore(records)] if own is None else [ClipStore(own), ClipStore(records)]
        self._splits = [split(store, config.validation) for store in self.stores]
        rows = [config.batch]
        if own is not None:
            mine = round(config.own_share * config.batch)
            rows = [mine, config.batch - mine]
        taught = teachers.probabilities(config, self.stores[-1], runs)
        self._batches = [
            ClipBatches(
                store,
                train,
                count // jax.process_count(),
                config.model.classes,
                config.seed,
                by_class=round(config.balanced_share * count) // jax.process_count(),
                host=jax.process_index(),
                hosts=jax.process_count(),
                teacher_labels=taught if store is self.stores[-1] else None,
                teacher_share=config.taught_share,
            )
            for store, (train, _), count in zip(self.stores, self._splits, rows, strict=True)
            if count
        ]

    def from_step(self, first: int) -> Iterator[ClipBatch]:
        """The batch of every step from ``first`` to the config's last, this host's rows of it."""
        made = [batches.iter_batches(first, self.config.steps) for batches in self._batches]
        for parts in zip(*made, strict=True):
            yield ClipBatch(*(np.concatenate(column) for column in zip(*parts, strict=True)))

    def figures(self, params: Params) -> dict[str, float]:
        """Every figure on the held-out clips: a user's own if there are any, the others' then
        named ``old_``."""
        found: dict[str, float] = {}
        for i, (store, (_, held)) in enumerate(zip(self.stores, self._splits, strict=True)):
            model = self.config.model
            batches = batch_in_order((store[n] for n in held), AT_ONCE, model.classes)
            some = metrics.compute_metrics(*scored(model, params, batches))
            found |= {("old_" if i else "") + k: round(v, 4) for k, v in some.items()}
        return found

    def about(self) -> dict[str, Any]:
        """Where the clips come from, how many there are, and their hashes."""
        *own, old = [
            {k: store.about[k] for k in ("source", "clips", "sha256")} for store in self.stores
        ]
        return {**old, "own": own[0]} if own else old
