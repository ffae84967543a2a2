"""The clips of a tagger's run: batches to train on, and held-out clips to validate on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np

from streamdet.model.config import Params
from train.audioset import metrics
from train.audioset.batches import ClipBatch, ClipBatches
from train.audioset.store import ClipStore
from train.tagging.config import TaggerConfig
from train.tagging.scoring import score_stored_clips
from train.tagging.teachers import compute_teacher_labels


def split_clips(store: ClipStore, share: float) -> tuple[np.ndarray, np.ndarray]:
    """The numbers of the clips to train on, and of the ``share`` that is held out, by the hash of
    their id."""
    held_out = store.hashes >= np.uint64(min(2**64 - 1, int((1.0 - share) * 2**64)))
    return np.flatnonzero(~held_out), np.flatnonzero(held_out)


class TaggerClips:
    """The clips of a run, from the folder ``records`` of converted clips.

    If the folder ``own`` is given, ``config.own_share`` of each batch is drawn from it. The
    labels of teachers come from their runs in ``runs``.
    """

    def __init__(self, config: TaggerConfig, records: Path, own: Path | None, runs: Path) -> None:
        self.config = config
        self.stores = [ClipStore(records)] if own is None else [ClipStore(own), ClipStore(records)]
        self._splits = [split_clips(store, config.validation) for store in self.stores]
        rows = [config.batch]
        if own is not None:
            own_rows = round(config.own_share * config.batch)
            rows = [own_rows, config.batch - own_rows]
        teacher_labels = compute_teacher_labels(config, self.stores[-1], runs)
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
                teacher_labels=teacher_labels if store is self.stores[-1] else None,
                teacher_share=config.taught_share,
            )
            for store, (train, _), count in zip(self.stores, self._splits, rows, strict=True)
            if count
        ]

    def iter_batches(self, first: int) -> Iterator[ClipBatch]:
        """This host's rows of the batch of every step, from ``first`` to the config's last."""
        streams = [batches.iter_batches(first, self.config.steps) for batches in self._batches]
        for parts in zip(*streams, strict=True):
            yield ClipBatch(*(np.concatenate(column) for column in zip(*parts, strict=True)))

    def compute_metrics(self, params: Params) -> dict[str, float]:
        """All metrics on the held-out clips. If there are own clips, the metrics are theirs, and
        those of the other clips have the prefix ``old_``."""
        rounded: dict[str, float] = {}
        for i, (store, (_, held_out)) in enumerate(zip(self.stores, self._splits, strict=True)):
            scored = score_stored_clips(self.config.model, params, store, held_out)
            prefix = "old_" if i else ""
            values = metrics.compute_metrics(*scored)
            rounded |= {prefix + name: round(value, 4) for name, value in values.items()}
        return rounded

    def describe(self) -> dict[str, Any]:
        """The sources of the clips, their number, and their hashes."""
        *own, old = [
            {k: store.about[k] for k in ("source", "clips", "sha256")} for store in self.stores
        ]
        return {**old, "own": own[0]} if own else old
