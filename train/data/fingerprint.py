"""Which clips hold the same recording: Haitsma & Kalker's audio fingerprint (ISMIR 2002).

A frame's 32 bits say whether each difference of neighbouring band energies rose or fell
since the frame before. Clips that share words at one offset are laid over each other there,
and are duplicates when few enough of the bits differ.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping

import numpy as np

from streamdet.constants import RATE

HOP, WINDOW = 256, 4_096
_EDGES = np.unique(np.geomspace(300.0, 3_600.0, 34) / (RATE / WINDOW)).astype(int)
BITS = len(_EDGES) - 2
_AGREED = 0.87
_WITNESSES = 2
_STEADY = 3
"""A word that is a clip's own this often says nothing: silence, a tone."""


def compute_fingerprint(samples: np.ndarray) -> np.ndarray:
    """(frames,) uint32 words of ``(n,) float32`` samples; none for less than two windows'
    worth of sound or for silence."""
    samples = np.pad(np.asarray(samples, np.float32), (WINDOW // 2, WINDOW // 2))
    if len(samples) < WINDOW + 2 * HOP or not np.any(samples):
        return np.zeros(0, np.uint32)
    windows = np.lib.stride_tricks.sliding_window_view(samples, WINDOW)[::HOP]
    taper = np.hanning(WINDOW).astype(np.float32)
    bands = []
    for at in range(0, len(windows), 512):
        power = np.abs(np.fft.rfft(windows[at : at + 512] * taper)) ** 2
        bands.append(np.add.reduceat(power, _EDGES, axis=1)[:, : len(_EDGES) - 1])
    slope = np.diff(np.concatenate(bands).astype(np.float32), axis=1)
    rise = slope[1:] > slope[:-1]
    weights = (1 << np.arange(rise.shape[1], dtype=np.uint64)).astype(np.uint64)
    return (rise @ weights).astype(np.uint32)


def find_duplicates(
    prints: Mapping[str, np.ndarray], least: float = 0.5, frames: int = 12
) -> list[tuple[str, str, float]]:
    """Pairs of names, and the share of bits that agree where the two overlap, for overlaps
    of at least ``least`` of the shorter one and of ``frames`` frames. Chance gives 0.5; the
    paper asks 0.65 of noisy queries; steady sounds (bells, insects) reach 0.82 by nature, so
    0.87 is asked here."""
    where: dict[int, list[tuple[str, int]]] = defaultdict(list)
    for name, words in prints.items():
        unique, first, counts = np.unique(words, return_index=True, return_counts=True)
        for word, at, count in zip(unique, first, counts, strict=True):
            if count <= _STEADY and 0 < word < 0xFFFFFFFF:
                where[int(word)].append((name, int(at)))
    offsets: dict[tuple[str, str], Counter[int]] = defaultdict(Counter)
    for holders in where.values():
        if len(holders) > 40:
            continue
        for i, (one, at) in enumerate(holders):
            for other, there in holders[i + 1 :]:
                if one != other:
                    offsets[one, other][there - at] += 1
    found = []
    for (one, other), counts in offsets.items():
        offset, shared = counts.most_common(1)[0]
        if shared < _WITNESSES:
            continue
        agreed, overlap = _measure_agreement(prints[one], prints[other], offset)
        shorter = min(len(prints[one]), len(prints[other]))
        if overlap >= max(frames, least * shorter) and agreed >= _AGREED:
            found.append((one, other, agreed))
    return sorted(found)


def _measure_agreement(one: np.ndarray, other: np.ndarray, offset: int) -> tuple[float, int]:
    """The share of equal bits of one[i] and other[i + offset], and over how many frames."""
    first, last = max(0, -offset), min(len(one), len(other) - offset)
    differing = one[first:last] ^ other[first + offset : last + offset]
    wrong = int(np.unpackbits(differing.view(np.uint8)).sum())
    return 1.0 - wrong / (BITS * max(1, last - first)), last - first
