"""The manifest's clips, decoded once into one array of int16 that every process maps.

`prepare_corpus` writes ``clips.i16`` (all samples, end to end) and ``clips.json`` (one row per
clip: the manifest's columns, its position in the array, its activity and its onsets) into a
folder that git ignores. `Corpus` reads them.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from streamdet.constants import RATE
from train.data import teacher
from train.data.labels import find_head
from train.data.shots import find_strong_labels
from train.data.table import read_rows
from train.data.teacher import TeacherScores
from train.errors import TrainError

TEACHER_FILE = "teacher.npz"
DEFAULT_EXCLUSIONS = Path(__file__).with_name("exclusions.csv")


class CorpusError(TrainError):
    """The corpus can't be read or built; the message says what is wrong and where."""


@dataclass(frozen=True)
class CorpusClip:
    """One row of the manifest, with its position in the array and its strong labels.

    ``start`` and ``length`` are in samples. ``active`` holds (first, end) pairs and ``onsets``
    single frames, both in frames of 10 ms. ``located`` is False if the onsets are not reliable,
    ``measured`` is True if they are annotations of every shot.
    ``own`` is True for a clip of the user's own folder.
    """

    index: int
    path: str
    split: str
    category: str
    label: str
    kind: str
    head: str
    source: str
    group: str
    licence: str
    native_rate: int
    start: int
    length: int
    active: tuple[tuple[int, int], ...]
    onsets: tuple[int, ...]
    located: bool
    measured: bool = False
    own: bool = False


class Corpus:
    """The prepared clips of ``folder``, followed by those of the user's folder ``own``, if given.

    ``corpus.read_samples(clip)`` returns the sound of a clip. Raises CorpusError if a folder has
    no prepared clips.
    """

    def __init__(self, folder: Path, own: Path | None = None) -> None:
        self._folders = [folder] if own is None else [folder, own]
        self.clips = _read_index(folder, 0, own=False)
        self._samples = [np.memmap(folder / "clips.i16", np.int16, "r")]
        self.teacher = TeacherScores(folder / TEACHER_FILE)
        if own is not None:
            self.clips += _read_index(own, len(self.clips), own=True)
            self._samples.append(np.memmap(own / "clips.i16", np.int16, "r"))

    def read_samples(
        self, clip: CorpusClip, start: int = 0, count: int | None = None
    ) -> np.ndarray:
        """Return a clip's samples from ``start`` on, all or ``count`` of them.

        The result is a new ``(n,) float32`` array in [-1, 1].
        """
        first = clip.start + start
        last = clip.start + clip.length if count is None else first + count
        return self._samples[clip.own][first:last] * np.float32(1.0 / 32768.0)

    def describe(self) -> dict[str, Any]:
        """Return the number of clips, the number of the user's own, and a hash of everything.

        It reads all samples and labels.
        """
        digest = hashlib.sha256()
        for folder in self._folders:
            for name in ("clips.json", "clips.i16"):
                with (folder / name).open("rb") as file:
                    digest.update(hashlib.file_digest(file, "sha256").digest())
        own = sum(clip.own for clip in self.clips)
        return {"clips": len(self.clips), "own": own, "sha256": digest.hexdigest()}

    def select_clips(self, split: str, *categories: str) -> list[CorpusClip]:
        """Return the clips of a split in any of the categories, in manifest order."""
        return [c for c in self.clips if c.split == split and c.category in categories]


def _read_index(folder: Path, first: int, *, own: bool) -> list[CorpusClip]:
    index = folder / "clips.json"
    if not index.is_file():
        raise CorpusError(f"{folder}: no prepared clips. Run `python -m train prepare` first.")
    rows = json.loads(index.read_text())
    return [
        CorpusClip(
            **{
                **r,
                "index": i,
                "active": tuple(map(tuple, r["active"])),
                "onsets": tuple(r["onsets"]),
                "own": own,
            }
        )
        for i, r in enumerate(rows, start=first)
    ]


def prepare_corpus(
    data: Path,
    folder: Path,
    splits: tuple[str, ...] = ("train", "val"),
    more: Path | None = None,
) -> int:
    """Decode the clips of a data folder, and of a second one, ``more``, into ``folder``.

    Returns the number of clips. Raises CorpusError for a missing manifest or a clip that is not
    16 kHz mono audio.
    """
    rows = _select_rows(data, splits)
    paths = [data / r["path"] for r in rows]
    if more is not None:
        added = _select_rows(more, splits)
        rows, paths = rows + added, paths + [more / r["path"] for r in added]
    boxes = read_shot_boxes(data) | (read_shot_boxes(more) if more is not None else {})
    folder.mkdir(parents=True, exist_ok=True)
    clips, start = [], 0
    spawn = multiprocessing.get_context("spawn")  # a fork of a process with JAX can hang
    with (
        (folder / "clips.i16.part").open("wb") as sink,
        ProcessPoolExecutor(mp_context=spawn) as pool,
    ):
        decoded = pool.map(
            _decode,
            paths,
            [r["kind"] for r in rows],
            [boxes.get(r["path"], ()) for r in rows],
            chunksize=32,
        )
        for row, (pcm, labels) in zip(rows, decoded, strict=True):
            sink.write(pcm.tobytes())
            clips.append(
                {
                    **{k: row[k] for k in ("path", "split", "category", "label", "kind")},
                    "head": find_head(row["category"], row["label"]),
                    "source": row["source"],
                    "group": row["origin_group"],
                    "licence": row["licence"],
                    "native_rate": int(row["native_rate"]),
                    "start": start,
                    "length": len(pcm),
                    **labels,
                }
            )
            start += len(pcm)
    teacher.select_teacher_scores(
        data,
        [r["path"] for r in rows],
        [r["split"] == "train" for r in rows],
        folder / TEACHER_FILE,
    )
    (folder / "clips.i16.part").rename(folder / "clips.i16")
    (folder / "clips.json").write_text(json.dumps(clips))
    return len(clips)


def hash_manifest(data: Path) -> str:
    """Return the SHA-256 of a data folder's manifest. Raises CorpusError if there is none."""
    return hashlib.sha256(_find_manifest(data).read_bytes()).hexdigest()


def _find_manifest(data: Path) -> Path:
    manifest = data / "manifest.csv"
    if not manifest.is_file():
        raise CorpusError(f"{manifest}: no such file. docs/data.md describes the format.")
    return manifest


def _select_rows(data: Path, splits: tuple[str, ...]) -> list[dict[str, str]]:
    manifest, excluded = _find_manifest(data), read_exclusions(data)
    return [
        row
        for row in read_rows(manifest)
        if row["split"] in splits and row["category"] != "mixture" and row["path"] not in excluded
    ]


def read_exclusions(data: Path) -> dict[str, str]:
    """Read the excluded clips: their paths and the reasons.

    They stand in the folder's ``exclusions.csv``. A folder without one gets the exclusions of the
    project's shared recordings.
    """
    own = data / "exclusions.csv"
    rows = read_rows(own if own.is_file() else DEFAULT_EXCLUSIONS)
    return {r["path"]: r["reason"] for r in rows}


def read_shot_boxes(data: Path) -> dict[str, tuple[tuple[float, float], ...]]:
    """Read ``events.csv``, if any: the boxes (onset, offset) around the shots of a clip, in
    seconds, by the clip's path."""
    path = data / "events.csv"
    boxes: dict[str, tuple[tuple[float, float], ...]] = {}
    for r in read_rows(path) if path.is_file() else []:
        box = (float(r["onset_s"]), float(r["offset_s"]))
        boxes[r["path"]] = (*boxes.get(r["path"], ()), box)
    return boxes


def _decode(
    path: Path, kind: str, boxes_s: tuple[tuple[float, float], ...]
) -> tuple[np.ndarray, dict[str, Any]]:
    """The samples of a clip as int16, and the columns of its index that they determine."""
    try:
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    except (OSError, soundfile.LibsndfileError) as error:
        raise CorpusError(f"{path}: {error}") from error
    if rate != RATE or samples.shape[1] != 1:
        raise CorpusError(
            f"{path}: {rate} Hz, {samples.shape[1]} channels. Convert it to {RATE} Hz mono."
        )
    pcm = np.clip(np.round(samples[:, 0] * 32768.0), -32768, 32767).astype(np.int16)
    labels = find_strong_labels(pcm.astype(np.float32) / 32768.0, kind, boxes_s)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], labels.active.astype(np.int8), [0]])))
    spans = [(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]
    return pcm, {
        "active": spans,
        "onsets": labels.onsets.tolist(),
        "located": labels.reliable,
        "measured": labels.measured,
    }
