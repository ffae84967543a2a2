"""Batches of clips: shuffled anew each epoch, shared out over hosts, resumable to the batch.

A batch is a function of (seed, step, host) alone, so that a run that goes on sees what an
uninterrupted one would, however many batches were made ahead.
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
    """``frames`` (rows, 10, 128) uint8, zeros behind a clip's end; ``lengths`` (rows,) int32, its
    seconds; ``labels`` (rows, classes) float32, 0 or 1, or between them where they are taught."""

    frames: np.ndarray
    lengths: np.ndarray
    labels: np.ndarray


def stack_clips(clips: Sequence[AudioSetClip], classes: int) -> ClipBatch:
    """Clips as one batch, in their order."""
    frames = np.zeros((len(clips), MAX_SECONDS, WIDTH), np.uint8)
    labels = np.zeros((len(clips), classes), np.float32)
    for row, clip in enumerate(clips):
        frames[row, : len(clip.frames)] = clip.frames
        labels[row, list(clip.labels)] = 1.0
    return ClipBatch(frames, np.array([len(c.frames) for c in clips], np.int32), labels)


def batch_in_order(clips: Iterable[AudioSetClip], rows: int, classes: int) -> Iterator[ClipBatch]:
    """The clips in batches of ``rows``, the last one shorter; one batch in memory at a time."""
    left = iter(clips)
    while some := list(islice(left, rows)):
        yield stack_clips(some, classes)


class ClipBatches:
    """The training batches of clips of these ``numbers``: of ``rows`` clips, ``by_class`` are
    drawn class by class, each class as likely as the next, the others in turn, every clip once
    an epoch. Of ``hosts``, each draws other clips. Where there are ``taught`` probabilities,
    (clips of the store, classes) float16, they are ``taught_share`` of the labels."""

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
        self.numbers, self.teacher_labels, self.teacher_share = (
            numbers,
            teacher_labels,
            teacher_share,
        )
        source: Any = numbers
        self._in_turn: Any = grain.MapDataset.source(source).seed(seed).shuffle().repeat()

    @cached_property
    def _numbers_by_class(self) -> list[np.ndarray]:
        return self.store.group_by_class(self.numbers)

    def __call__(self, step: int) -> ClipBatch:
        """The batch of one step."""
        each = self.rows - self.by_class
        at = (step * each + np.arange(each)) * self.hosts + self.host
        chosen = [self._in_turn[int(i)] for i in at]
        rng = np.random.default_rng([self.seed, int(step), self.host])
        for _ in range(self.by_class):
            some = self._numbers_by_class[rng.integers(len(self._numbers_by_class))]
            chosen.append(some[rng.integers(len(some))])
        batch = stack_clips([self.store[int(n)] for n in chosen], self.classes)
        if self.teacher_labels is None:
            return batch
        said = self.teacher_labels[chosen].astype(np.float32)
        return batch._replace(labels=batch.labels + self.teacher_share * (said - batch.labels))

    def iter_batches(self, first: int, last: int) -> Iterator[ClipBatch]:
        """Batches of steps ``first`` to ``last - 1``, made ahead by two threads."""
        ahead = grain.ReadOptions(num_threads=2, prefetch_buffer_size=8)
        return iter(grain.MapDataset.range(first, last).map(self).to_iter_dataset(ahead))
