"""Clips to draw from, balanced by label and by recording."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

from train.data.corpus import CorpusClip


class ClipPool:
    """Clips drawn with every label as likely as the next, then every group, then clips."""

    def __init__(self, clips: list[CorpusClip], *, by_label: bool = True) -> None:
        tree: dict[str, dict[str, list[CorpusClip]]] = defaultdict(lambda: defaultdict(list))
        for clip in clips:
            tree[clip.label if by_label else ""][clip.group].append(clip)
        self._tree = [[list(clips) for clips in groups.values()] for groups in tree.values()]
        sizes = np.array([len(groups) for groups in self._tree], float)
        self._odds = np.sqrt(sizes) / np.sqrt(sizes).sum() if len(sizes) else sizes

    def __bool__(self) -> bool:
        return bool(self._tree)

    def draw(self, rng: np.random.Generator) -> CorpusClip:
        """A clip; labels are weighed by the square root of their number of groups."""
        groups = self._tree[rng.choice(len(self._tree), p=self._odds)]
        clips = groups[rng.integers(len(groups))]
        return clips[rng.integers(len(clips))]


class OwnSharePool:
    """Clips of two pools: a user's own at odds of ``share``, where there are any of them."""

    def __init__(self, clips: list[CorpusClip], share: float, *, by_label: bool = True) -> None:
        self._own = ClipPool([c for c in clips if c.own], by_label=by_label)
        self._others = ClipPool([c for c in clips if not c.own], by_label=by_label)
        self._share = share

    @property
    def has_own(self) -> bool:
        """Whether a user's own clips are among them."""
        return bool(self._own)

    def __bool__(self) -> bool:
        return bool(self._own) or bool(self._others)

    def draw(self, rng: np.random.Generator) -> CorpusClip:
        """A clip of one of the two."""
        own = self._own and (not self._others or rng.random() < self._share)
        return (self._own if own else self._others).draw(rng)


class WeightedPool:
    """Clips drawn in proportion to a weight each, by path; clips without one never."""

    def __init__(self, clips: Sequence[CorpusClip], weights: Mapping[str, float]) -> None:
        self._clips = [c for c in clips if weights.get(c.path, 0.0) > 0.0]
        odds = np.array([weights[c.path] for c in self._clips], float)
        self._odds = odds / odds.sum() if len(odds) else odds

    def __bool__(self) -> bool:
        return bool(self._clips)

    def draw(self, rng: np.random.Generator) -> CorpusClip:
        """A clip by its weight."""
        return self._clips[rng.choice(len(self._clips), p=self._odds)]
