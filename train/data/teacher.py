"""What a public tagger heard in each clip: soft targets for heads that only training has.

`select` keeps, of the tagger's 521 classes, those that the train clips hold most of; a
scene's target is then made of its layers' by `TeacherTrack`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

HOP_S, WINDOW_S = 0.48, 0.975
"""The tagger's windows, as the data's README states them."""
TEACHER_CLASSES = 96
LABEL_PREFIX = "teacher:"


def select_teacher_scores(data: Path, paths: list[str], train: list[bool], to: Path) -> None:
    """Write ``to`` (npz) with the opinions on ``paths``, of the classes most present in the
    clips marked ``train``; nothing where the data folder has no teacher."""
    source = data / "teacher_yamnet.npz"
    if not source.is_file():
        to.unlink(missing_ok=True)
        return
    with np.load(source, allow_pickle=False) as given:
        opinions, offsets = given["sqrt_p_u8"], given["offsets"]
        rows = {str(p): i for i, p in enumerate(given["paths"])}
        classes = [str(c) for c in given["classes"]]
    spans = [(offsets[rows[p]], offsets[rows[p] + 1]) if p in rows else (0, 0) for p in paths]
    tops = [
        opinions[a:b].max(axis=0) for (a, b), t in zip(spans, train, strict=True) if t and b > a
    ]
    present = (np.stack(tops).astype(np.float32) / 255.0) ** 2
    kept = np.sort(np.argsort(-present.mean(axis=0), kind="stable")[:TEACHER_CLASSES])
    ends = np.cumsum([0] + [b - a for a, b in spans])
    chosen = np.concatenate([opinions[a:b][:, kept] for a, b in spans])
    np.savez(to, sqrt_p_u8=chosen, offsets=ends, classes=np.array([classes[k] for k in kept]))


class TeacherScores:
    """The opinions on a corpus's clips; empty arrays and no classes where there are none."""

    def __init__(self, path: Path) -> None:
        self.classes: tuple[str, ...] = ()
        if path.is_file():
            with np.load(path, allow_pickle=False) as given:
                self._opinions, self._offsets = given["sqrt_p_u8"], given["offsets"]
                self.classes = tuple(LABEL_PREFIX + str(c) for c in given["classes"])

    def read_scores(self, clip: int) -> np.ndarray:
        """(windows, classes) float32 probabilities of the corpus's clip of that index; none of a
        clip behind those that the teacher heard."""
        if not self.classes or clip + 1 >= len(self._offsets):
            return np.zeros((0, 0), np.float32)
        rows = self._opinions[self._offsets[clip] : self._offsets[clip + 1]]
        return (rows.astype(np.float32) / 255.0) ** 2


class TeacherTrack:
    """A scene's soft targets, one row every 0.48 s: layers join as independent causes.

    Row ``m`` is what the window that ends at ``0.48 m + 0.96`` seconds would hear.
    """

    def __init__(self, seconds: float, classes: int) -> None:
        self.rows = np.zeros((max(0, int((seconds - 0.96) / HOP_S) + 1), classes), np.float32)

    def add_clip(self, opinions: np.ndarray, at_s: float, start_s: float, length_s: float) -> None:
        """A layer whose clip plays from its second ``start_s`` at the scene's ``at_s``; NaN
        where it is a sound that the teacher never heard."""
        begin = np.arange(len(self.rows)) * HOP_S
        heard = (begin + 0.96 > at_s + 0.1) & (begin < at_s + length_s - 0.05)
        if not opinions.size:
            self.rows[heard] = np.nan
            return
        window = np.rint((begin - at_s + start_s) / HOP_S).astype(int)
        window = np.clip(window, 0, len(opinions) - 1)
        self.rows[heard] = 1.0 - (1.0 - self.rows[heard]) * (1.0 - opinions[window[heard]])
