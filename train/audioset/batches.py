"""Batches of AudioSet clips, shuffled every epoch, shared between hosts and resumable.

A batch depends on (seed, step, host) alone: a resumed run sees the same batches as an
uninterrupted one, however many were prepared ahead.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from itertools import islice
from typing import Any, NamedTuple

import grain
import numpy as np

from train.audioset.clips import MAX_SECONDS, WIDTH, AudioSetClip
from train.audioset.store import ClipStore


class ClipBatch(NamedTuple):
    """A batch of clips.

    ``frames`` is (rows, 10, 128) uint8, padded with zeros. ``lengths`` is (rows,) int32, in
    seconds. ``labels`` is (rows, classes) float32: 0 or 1, or between them if a teacher's scores
    are mixed in.
    """

    frames: np.ndarray
    lengths: np.ndarray
    labels: np.ndarray


def stack_clips(clips: Sequence[AudioSetClip], classes: int) -> ClipBatch:
    """Stack clips into one batch, in their order."""
    frames = np.zeros((len(clips), MAX_SECONDS, WIDTH), np.uint8)
    labels = np.zeros((len(clips), classes), np.float32)
    for row, clip in enumerate(clips):
        frames[row, : len(clip.frames)] = clip.frames
        labels[row, list(clip.labels)] = 1.0
    return ClipBatch(frames, np.array([len(c.frames) for c in clips], np.int32), labels)


def batch_in_order(clips: Iterable[AudioSetClip], rows: int, classes: int) -> Iterator[ClipBatch]:
    """Yield the clips in batches of ``rows``, the last one shorter."""
    remaining = iter(clips)
    while chosen := list(islice(remaining, rows)):
        yield stack_clips(chosen, classes)


class ClipBatches:
    """The training batches of the clips with these ``numbers``: ``batches(step)`` makes one.

    Of the ``rows`` clips of a batch, ``by_class`` are drawn by class, each class with the same
    probability. The others are a shuffle of all clips, each one once per epoch. Each of the
    ``hosts`` draws other clips. ``teacher_labels``, (clips of the store, classes) float16
    probabilities, make up ``teacher_share`` of the labels, if given.
    """

    def __init__(
        self,
        store: ClipStore,
        numbers: np.ndarray,
        rows: int,
        classes: int,
        seed: int,
        *,
        by_class: int = 0,
        host: int = 0,
        hosts: int = 1,
        teacher_labels: np.ndarray | None = None,
        teacher_share: float = 0.0,
    ) -> None:
        self.store, self.rows, self.classes, self.seed = store, rows, classes, seed
        self.by_class, self.host, self.hosts = by_class, host, hosts
        self.numbers = numbers
        self.teacher_labels, self.teacher_share = teacher_labels, teacher_share
        source: Any = numbers
        self._shuffled: Any = grain.MapDataset.source(source).seed(seed).shuffle().repeat()

    @cached_property
    def _numbers_by_class(self) -> list[np.ndarray]:
        return self.store.group_by_class(self.numbers)

    def __call__(self, step: int) -> ClipBatch:
        """Make the batch of one step."""
        shuffled = self.rows - self.by_class
        indices = (step * shuffled + np.arange(shuffled)) * self.hosts + self.host
        chosen = [self._shuffled[int(i)] for i in indices]
        rng = np.random.default_rng([self.seed, int(step), self.host])
        for _ in range(self.by_class):
            of_class = self._numbers_by_class[rng.integers(len(self._numbers_by_class))]
            chosen.append(of_class[rng.integers(len(of_class))])
        batch = stack_clips([self.store[int(n)] for n in chosen], self.classes)
        if self.teacher_labels is None:
            return batch
        taught = self.teacher_labels[chosen].astype(np.float32)
        labels = batch.labels + self.teacher_share * (taught - batch.labels)
        return batch._replace(labels=labels)

    def iter_batches(self, first: int, last: int) -> Iterator[ClipBatch]:
        """Iterate over the batches of steps ``first`` to ``last - 1``; two threads prepare them."""
        ahead = grain.ReadOptions(num_threads=2, prefetch_buffer_size=8)
        return iter(grain.MapDataset.range(first, last).map(self).to_iter_dataset(ahead))
