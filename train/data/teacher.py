"""The scores that a public tagger gave each clip: soft targets for heads used in training only.

`select_teacher_scores` keeps those of the tagger's 521 classes that are most present in the train
clips. `TeacherTrack` combines the scores of a scene's layers into the scene's targets.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

HOP_S, WINDOW_S = 0.48, 0.96
"""Seconds from one window of the tagger to the next, and in one window."""
TEACHER_CLASSES = 96
LABEL_PREFIX = "teacher:"


def count_windows(seconds: float) -> int:
    """The number of whole windows of the tagger in so many seconds."""
    return max(0, math.floor((seconds - WINDOW_S) / HOP_S) + 1)


def select_teacher_scores(data: Path, paths: list[str], train: list[bool], to: Path) -> None:
    """Write ``to`` (npz) with the scores of the clips ``paths``, for TEACHER_CLASSES classes.

    The classes are those most present in the clips marked ``train``. If the data folder has no
    ``teacher_yamnet.npz``, nothing is written and an old ``to`` is removed.
    """
    source = data / "teacher_yamnet.npz"
    if not source.is_file():
        to.unlink(missing_ok=True)
        return
    with np.load(source, allow_pickle=False) as stored:
        scores, offsets = stored["sqrt_p_u8"], stored["offsets"]
        rows = {str(p): i for i, p in enumerate(stored["paths"])}
        classes = [str(c) for c in stored["classes"]]
    spans = [(offsets[rows[p]], offsets[rows[p] + 1]) if p in rows else (0, 0) for p in paths]
    peaks = [scores[a:b].max(axis=0) for (a, b), t in zip(spans, train, strict=True) if t and b > a]
    present = (np.stack(peaks).astype(np.float32) / 255.0) ** 2
    ranked = np.argsort(-present.mean(axis=0), kind="stable")
    chosen = np.sort(ranked[:TEACHER_CLASSES])
    np.savez(
        to,
        sqrt_p_u8=np.concatenate([scores[a:b][:, chosen] for a, b in spans]),
        offsets=np.cumsum([0] + [b - a for a, b in spans]),
        classes=np.array([classes[k] for k in chosen]),
    )


class TeacherScores:
    """The teacher's scores of a corpus's clips; without classes if the file does not exist."""

    def __init__(self, path: Path) -> None:
        self.classes: tuple[str, ...] = ()
        if path.is_file():
            with np.load(path, allow_pickle=False) as stored:
                self._scores, self._offsets = stored["sqrt_p_u8"], stored["offsets"]
                self.classes = tuple(LABEL_PREFIX + str(c) for c in stored["classes"])

    def read_scores(self, clip: int) -> np.ndarray:
        """Return the probabilities of the corpus's clip of this index.

        They are (windows, classes) float32; empty for a clip that the teacher has not scored.
        """
        if not self.classes or clip + 1 >= len(self._offsets):
            return np.zeros((0, 0), np.float32)
        rows = self._scores[self._offsets[clip] : self._offsets[clip + 1]]
        return (rows.astype(np.float32) / 255.0) ** 2


class TeacherTrack:
    """A scene's soft targets, one row every 0.48 s.

    Row ``m`` is the teacher's score of the window that ends at ``0.48 m + 0.96`` seconds. Layers
    are combined as independent causes: 1 - (1 - p)(1 - q).
    """

    def __init__(self, seconds: float, classes: int) -> None:
        self.rows = np.zeros((count_windows(seconds), classes), np.float32)

    def add_clip(
        self, scores: np.ndarray, position_s: float, start_s: float, length_s: float
    ) -> None:
        """Add a clip that plays ``length_s`` from its second ``start_s`` on, at ``position_s``.

        Rows become NaN (unknown) where the clip has no scores.
        """
        begin = np.arange(len(self.rows)) * HOP_S
        covered = (begin + WINDOW_S > position_s + 0.1) & (begin < position_s + length_s - 0.05)
        if not scores.size:
            self.rows[covered] = np.nan
            return
        window = np.rint((begin - position_s + start_s) / HOP_S).astype(int)
        window = np.clip(window, 0, len(scores) - 1)
        self.rows[covered] = 1.0 - (1.0 - self.rows[covered]) * (1.0 - scores[window[covered]])
