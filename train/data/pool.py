"""Draw clips at random, balanced by label and by recording."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

from train.data.corpus import CorpusClip


class ClipPool:
    """Clips drawn in three steps: a label (unless ``by_label`` is False), a group, a clip.

    A label is drawn with the square root of its number of groups as weight; groups and clips are
    drawn uniformly.
    """

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
        """Draw a clip."""
        groups = self._tree[rng.choice(len(self._tree), p=self._odds)]
        clips = groups[rng.integers(len(groups))]
        return clips[rng.integers(len(clips))]


class OwnSharePool:
    """Clips of which the user's own are drawn with probability ``share``, if there are any."""

    def __init__(self, clips: list[CorpusClip], share: float, *, by_label: bool = True) -> None:
        self._own = ClipPool([c for c in clips if c.own], by_label=by_label)
        self._others = ClipPool([c for c in clips if not c.own], by_label=by_label)
        self._share = share

    @property
    def has_own(self) -> bool:
        """Whether the pool has clips of the user's own."""
        return bool(self._own)

    def __bool__(self) -> bool:
        return bool(self._own) or bool(self._others)

    def draw(self, rng: np.random.Generator) -> CorpusClip:
        """Draw a clip."""
        own = self._own and (not self._others or rng.random() < self._share)
        return (self._own if own else self._others).draw(rng)


class WeightedPool:
    """Clips drawn in proportion to their weights, by path; clips without one are not drawn."""

    def __init__(self, clips: Sequence[CorpusClip], weights: Mapping[str, float]) -> None:
        self._clips = [c for c in clips if weights.get(c.path, 0.0) > 0.0]
        odds = np.array([weights[c.path] for c in self._clips], float)
        self._odds = odds / odds.sum() if len(odds) else odds

    def __bool__(self) -> bool:
        return bool(self._clips)

    def draw(self, rng: np.random.Generator) -> CorpusClip:
        """Draw a clip."""
        return self._clips[rng.choice(len(self._clips), p=self._odds)]
