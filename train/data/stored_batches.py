"""Batches of stored scenes, with what the teachers answered to them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from streamdet.constants import RATE
from train.data.scene import Scene
from train.data.scene_store import CLASSES, PROJECTION_DIMS, SceneStore
from train.data.teacher import HOP_S, LABEL_PREFIX, WINDOW_S, count_windows

STEP_S = 0.32
"""Seconds from one step of the taggers' stored class probabilities to the next."""
FEATURE_PREFIX = "feature:"
MOST_SILENCE = 0.25
"""The highest share of digital silence in a window that a tagger's probabilities are kept for."""


class StoredBatches:
    """Reads batches of stored scenes; a batch is a function of (seed, step).

    Every pass over the scenes is another permutation. With ``taught`` the scenes have the teachers'
    posterior, classes and features. ``hosts`` (i, n): this host reads the i-th of n equal parts of
    each batch.
    """

    def __init__(
        self,
        store: SceneStore,
        seed: int,
        rows: int,
        *,
        taught: bool = True,
        hosts: tuple[int, int] = (0, 1),
    ) -> None:
        self.store, self._seed, self._rows, self._taught = store, seed, rows, taught
        self._hosts = hosts
        self._columns: dict[str, list[int]] = {}
        self.labels: tuple[str, ...] = ()
        if taught:
            chosen = json.loads((store.folder / CLASSES).read_text())
            self._columns = {tagger: list(classes.values()) for tagger, classes in chosen.items()}
            self.labels = tuple(
                f"{LABEL_PREFIX}{tagger}:{name}" for tagger in chosen for name in chosen[tagger]
            ) + tuple(f"{FEATURE_PREFIX}{i}" for i in range(PROJECTION_DIMS))

    def __call__(self, step: int) -> Scene:
        """Read the batch of one step."""
        per_pass = max(1, len(self.store) // self._rows)
        order = np.random.default_rng([self._seed, step // per_pass]).permutation(len(self.store))
        first = step % per_pass * self._rows
        index, hosts = self._hosts
        return self.read_scenes(order[first : first + self._rows][index::hosts])

    def iter_batches(self, first: int, last: int) -> Iterator[Scene]:
        """The batches of steps ``first`` to ``last - 1``, the next one read ahead by a thread."""
        with ThreadPoolExecutor(1) as ahead:
            following = ahead.submit(self, first)
            for step in range(first, last):
                batch = following.result()
                following = ahead.submit(self, min(step + 1, last - 1))
                yield batch

    def read_scenes(self, scenes: np.ndarray) -> Scene:
        """Read some scenes as one batch."""
        read = self.store.read
        rows = len(scenes)
        samples, targets, weights, bag = (
            np.stack([read(name, i) for i in scenes]).astype(np.float32)
            for name in ("samples", "targets", "weights", "bag")
        )
        samples *= np.float32(1.0 / 32768.0)
        teacher, features = (np.zeros((rows, 0, 0), np.float32) for _ in range(2))
        posterior = np.zeros((rows, 0), np.float32)
        if self._taught:
            posterior = np.stack([read("posterior", i) for i in scenes]).astype(np.float32)
            posterior = np.repeat(posterior, bag.shape[1] // posterior.shape[1], axis=1)
            features = np.stack([read("projection", i) for i in scenes]).astype(np.float32)
            teacher = np.concatenate(
                [
                    np.stack([read(tagger, i)[:, columns] for i in scenes])
                    for tagger, columns in self._columns.items()
                ],
                axis=2,
            )
            seconds = samples.shape[1] / RATE
            teacher = _interpolate_windows((teacher / np.float32(255.0)) ** 2, seconds)
            teacher[_find_silence(samples)] = np.nan
        return Scene(samples, targets, weights, bag, teacher, posterior, features)


def _interpolate_windows(steps: np.ndarray, seconds: float) -> np.ndarray:
    """The taggers' probabilities, (rows, steps, classes), at the windows of `TeacherTrack`.

    Step j is centred on (j + 0.5) * STEP_S, window m on m * HOP_S + WINDOW_S / 2.
    """
    at = (np.arange(count_windows(seconds)) * HOP_S + WINDOW_S / 2) / STEP_S - 0.5
    below = np.minimum(at.astype(int), steps.shape[1] - 2)
    share = (at - below)[:, None].astype(np.float32)
    return (1.0 - share) * steps[:, below] + share * steps[:, below + 1]


def _find_silence(samples: np.ndarray) -> np.ndarray:
    """The windows of ``(rows, n)`` samples that are digital silence for more than MOST_SILENCE,
    (rows, windows) bool. mn04 answers them with classes that are not there."""
    starts = (np.arange(count_windows(samples.shape[1] / RATE)) * HOP_S * RATE).astype(int)
    length = int(WINDOW_S * RATE)
    shares = [np.mean(samples[:, a : a + length] == 0.0, axis=1) for a in starts]
    return np.stack(shares, axis=1) > MOST_SILENCE
