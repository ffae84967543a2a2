"""Clips to draw from, balanced by label and by recording."""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from train.data.corpus import Clip


class Pool:
    """Clips drawn with every label as likely as the next, then every group, then clips."""

    def __init__(self, clips: list[Clip], *, by_label: bool = True) -> None:
        tree: dict[str, dict[str, list[Clip]]] = defaultdict(lambda: defaultdict(list))
        for clip in clips:
            tree[clip.label if by_label else ""][clip.group].append(clip)
        self._tree = [[list(clips) for clips in groups.values()] for groups in tree.values()]
        sizes = np.array([len(groups) for groups in self._tree], float)
        self._odds = np.sqrt(sizes) / np.sqrt(sizes).sum() if len(sizes) else sizes

    def __bool__(self) -> bool:
        return bool(self._tree)

    def draw(self, rng: np.random.Generator) -> Clip:
        """A clip; labels are weighed by the square root of their number of groups."""
        groups = self._tree[rng.choice(len(self._tree), p=self._odds)]
        clips = groups[rng.integers(len(groups))]
        return clips[rng.integers(len(clips))]
