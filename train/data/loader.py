"""Batches of scenes, each a function of (seed, step) alone, mixed ahead by `grain`.

A worker process holds no model and imports no JAX; it opens the corpus for itself.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import grain
import numpy as np
from absl import flags

from train.data.config import MixConfig
from train.data.corpus import Corpus
from train.data.mixing import Mixer, Scene


@dataclass(frozen=True)
class SceneBatches:
    """Makes the batch of a step: `(rows, ...)` arrays in a Scene."""

    corpus: Path
    mix: MixConfig
    seed: int
    rows: int
    mined: Path | None = None
    """A JSON file of clip paths and their weights, by hard-negative mining."""
    own: Path | None = None
    """A user's own prepared clips, to be mixed in."""
    first_row: int = 0
    """Of the rows of a batch that hosts share, this one's first."""

    def __call__(self, step: int) -> Scene:
        """The batch of one step."""
        mixer = _open_mixer(self.corpus, self.mix, self.mined, self.own)
        scenes = [
            mixer.make_scene(np.random.default_rng([self.seed, int(step), self.first_row + row]))
            for row in range(self.rows)
        ]
        return Scene(*(np.stack(column) for column in zip(*scenes, strict=True)))

    def iter_batches(self, first: int, last: int, workers: int) -> Iterator[Scene]:
        """Batches of steps ``first`` to ``last - 1``, mixed ahead in ``workers`` processes
        (0: in a thread of this one)."""
        steps = grain.MapDataset.range(first, last).map(self)
        options = grain.ReadOptions(num_threads=1, prefetch_buffer_size=2)
        ahead = steps.to_iter_dataset(options)
        if workers:
            _accept_default_flags()
            ahead = ahead.mp_prefetch(grain.MultiprocessingOptions(workers, 4))
        return iter(ahead)


@cache
def _open_mixer(corpus: Path, mix: MixConfig, mined: Path | None, own: Path | None) -> Mixer:
    weights = json.loads(mined.read_text()) if mined else None
    return Mixer(Corpus(corpus, own), mix, mined=weights)


def _accept_default_flags() -> None:
    """grain reads absl's flags, which nobody parses here: their defaults are meant."""
    if not flags.FLAGS.is_parsed():
        flags.FLAGS.mark_as_parsed()
