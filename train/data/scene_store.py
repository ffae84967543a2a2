"""Scenes mixed once and stored, so that a teacher answers each of them once.

A set of scenes is a folder of shards. A shard is a folder of ``.npy`` files with one row for each
of its scenes: ``samples`` int16, ``targets``, ``weights`` and ``bag`` uint8, and what teachers
answered to them. A shard gets its name when it is complete, so an interrupted run continues with
the next. Scene ``i`` depends on (corpus, mix, seed, i) alone.
"""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from train.data.config import MixConfig
from train.data.corpus import Corpus
from train.data.mixing import Mixer
from train.data.scene import FRAME
from train.errors import TrainError

SHARD = 128
"""Scenes in a shard."""
ABOUT = "scenes.json"
CLASSES = "classes.json"
"""The taggers' classes that students learn: for each tagger, the names and their columns."""
PROJECTION_DIMS = 64
"""Dimensions of the projected features of the taggers."""
_MIXED = ("samples", "targets", "weights", "bag")


class SceneStore:
    """The stored scenes in ``folder``. Raises TrainError if it has none."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.shards = sorted(p for p in folder.glob("[0-9]*") if p.suffix == "")
        if not self.shards:
            raise TrainError(f"{folder}: no scenes. Run `python -m train scenes` first.")
        self._arrays: dict[tuple[int, str], np.ndarray] = {}

    def __len__(self) -> int:
        return len(self.shards) * SHARD

    def read(self, name: str, scene: int) -> np.ndarray:
        """Return one scene's row of an array. Raises TrainError if the shard lacks it."""
        return self.open_array(scene // SHARD, name)[scene % SHARD]

    def open_array(self, shard: int, name: str) -> np.ndarray:
        """Map the array ``name`` of a shard, (SHARD, ...)."""
        key = (shard, name)
        if key not in self._arrays:
            path = self.shards[shard] / f"{name}.npy"
            if not path.is_file():
                raise TrainError(f"{path}: no such file. Run `python -m train teach` first.")
            self._arrays[key] = np.load(path, mmap_mode="r", allow_pickle=False)
        return self._arrays[key]

    def has_array(self, shard: int, name: str) -> bool:
        """Whether a shard has the array ``name``."""
        return (self.shards[shard] / f"{name}.npy").is_file()

    def write_array(self, shard: int, name: str, rows: np.ndarray) -> None:
        """Add the array ``name``, (SHARD, ...), to a shard, in place of an earlier one."""
        part = self.shards[shard] / f"{name}.part.npy"
        np.save(part, rows, allow_pickle=False)
        part.rename(self.shards[shard] / f"{name}.npy")
        self._arrays.pop((shard, name), None)

    def read_samples(self, scene: int) -> np.ndarray:
        """Return a scene's samples, (n,) float32 in [-1, 1]."""
        return self.read("samples", scene) * np.float32(1.0 / 32768.0)


def write_scenes(
    corpus: Path,
    mix: MixConfig,
    seed: int,
    folder: Path,
    count: int,
    mined: Mapping[str, float] | None = None,
    workers: int = 1,
) -> Iterator[int]:
    """Mix scenes until ``folder`` has ``count``; yields how many there are after each shard.

    Raises TrainError if the folder holds scenes of another mix or seed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    about = {"mix": asdict(mix), "seed": seed, "mined": dict(mined or {})}
    path = folder / ABOUT
    if path.is_file() and json.loads(path.read_text()) != json.loads(json.dumps(about)):
        raise TrainError(f"{folder}: holds scenes of another mix or seed. Choose another folder.")
    path.write_text(json.dumps(about))
    missing = [i for i in range(-(-count // SHARD)) if not (folder / f"{i:05d}").is_dir()]
    spawn = multiprocessing.get_context("spawn")  # a fork of a process with JAX can hang
    with ProcessPoolExecutor(max(1, workers), mp_context=spawn) as pool:
        done = count - len(missing) * SHARD
        jobs = [pool.submit(_write_shard, corpus, folder, shard) for shard in missing]
        for job in jobs:
            job.result()
            done += SHARD
            yield done


def _write_shard(corpus: Path, folder: Path, shard: int) -> None:
    mixer, seed = _open_mixer(corpus, folder)
    scenes = [
        mixer.make_scene(np.random.default_rng([seed, shard * SHARD + row])) for row in range(SHARD)
    ]
    part = folder / f"{shard:05d}.part"
    part.mkdir(exist_ok=True)
    for name in _MIXED:
        rows = np.stack([getattr(scene, name) for scene in scenes])
        rows = np.round(rows * 32768.0).astype(np.int16) if name == "samples" else rows
        np.save(part / f"{name}.npy", rows if name == "samples" else rows.astype(np.uint8))
    part.rename(folder / f"{shard:05d}")


@cache
def _open_mixer(corpus: Path, folder: Path) -> tuple[Mixer, int]:
    about = json.loads((folder / ABOUT).read_text())
    fields: dict[str, Any] = {
        name: tuple(map(tuple, value)) if isinstance(value, list) else value
        for name, value in about["mix"].items()
    }
    mixer = Mixer(Corpus(corpus), MixConfig(**fields), mined=about["mined"], frame=FRAME)
    return mixer, about["seed"]
