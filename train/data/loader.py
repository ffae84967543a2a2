"""Batches of scenes, mixed ahead by `grain`; a batch depends on (seed, step) alone.

A worker process opens the corpus itself. It holds no model and does not import JAX.
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
from train.data.mixing import Mixer
from train.data.scene import FRAME, Scene


@dataclass(frozen=True)
class SceneBatches:
    """The training batches of a run: ``batches(step)`` is a Scene of ``(rows, ...)`` arrays."""

    corpus: Path
    mix: MixConfig
    seed: int
    rows: int
    mined: Path | None = None
    """A JSON file of clip paths and their weights, written by hard-negative mining."""
    own: Path | None = None
    """The user's own prepared clips, to be mixed in."""
    first_row: int = 0
    """This host's first row of a batch that several hosts share."""
    frame: int = FRAME
    """Samples in a frame of the model: the frontend's hop times the model's stride."""

    def __call__(self, step: int) -> Scene:
        """Make the batch of one step."""
        mixer = _open_mixer(self.corpus, self.mix, self.mined, self.own, self.frame)
        scenes = [
            mixer.make_scene(np.random.default_rng([self.seed, int(step), self.first_row + row]))
            for row in range(self.rows)
        ]
        return Scene(*(np.stack(column) for column in zip(*scenes, strict=True)))

    def iter_batches(self, first: int, last: int, workers: int) -> Iterator[Scene]:
        """Iterate over the batches of steps ``first`` to ``last - 1``.

        They are mixed ahead in ``workers`` processes; with 0, in a thread of this process.
        """
        steps = grain.MapDataset.range(first, last).map(self)
        options = grain.ReadOptions(num_threads=1, prefetch_buffer_size=2)
        ahead = steps.to_iter_dataset(options)
        if workers:
            _accept_default_flags()
            ahead = ahead.mp_prefetch(grain.MultiprocessingOptions(workers, 4))
        return iter(ahead)


@cache
def _open_mixer(
    corpus: Path, mix: MixConfig, mined: Path | None, own: Path | None, frame: int
) -> Mixer:
    weights = json.loads(mined.read_text()) if mined else None
    return Mixer(Corpus(corpus, own), mix, mined=weights, frame=frame)


def _accept_default_flags() -> None:
    """Mark absl's flags as parsed: grain reads them, and this program does not parse them."""
    if not flags.FLAGS.is_parsed():
        flags.FLAGS.mark_as_parsed()
