"""Batches of clips: shuffled anew each epoch, shared out over hosts, resumable to the batch.

A batch is a function of (seed, step, host) alone, so that a run that goes on sees what an
uninterrupted one would, however many batches were mixed ahead.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import grain
import numpy as np

from train.audioset.clips import LONGEST, WIDTH, Clip
from train.audioset.store import Store


class Batch(NamedTuple):
    """``frames`` (rows, 10, 128) uint8, zeros behind a clip's end; ``lengths`` (rows,) int32, its
    seconds; ``labels`` (rows, classes) float32, 0 or 1."""

    frames: np.ndarray
    lengths: np.ndarray
    labels: np.ndarray


def stacked(clips: Sequence[Clip], classes: int) -> Batch:
    """Clips as one batch, in their order."""
    frames = np.zeros((len(clips), LONGEST, WIDTH), np.uint8)
    labels = np.zeros((len(clips), classes), np.float32)
    for row, clip in enumerate(clips):
        frames[row, : len(clip.frames)] = clip.frames
        labels[row, list(clip.labels)] = 1.0
    return Batch(frames, np.array([len(c.frames) for c in clips], np.int32), labels)


def in_order(store: Store, rows: int, classes: int) -> Iterator[Batch]:
    """Every clip once, the last batch shorter."""
    for first in range(0, len(store), rows):
        last = min(first + rows, len(store))
        yield stacked([store[i] for i in range(first, last)], classes)


def shuffled(
    store: Store,
    numbers: Sequence[int],
    rows: int,
    classes: int,
    seed: int,
    *,
    first: int = 0,
    host: int = 0,
    hosts: int = 1,
) -> Iterator[Batch]:
    """Batches without end from step ``first`` on, of the clips of these numbers; each host
    gets its own ``rows`` of every ``rows * hosts``."""
    drawn = grain.MapDataset.source(numbers).seed(seed).shuffle().repeat()
    ours = drawn[host::hosts]
    threads = grain.ReadOptions(num_threads=2, prefetch_buffer_size=8)
    made = ours.batch(rows, batch_fn=lambda some: stacked([store[i] for i in some], classes))
    return iter(made.slice(slice(first, None)).to_iter_dataset(threads))
