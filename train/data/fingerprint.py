"""Find clips of the same recording by audio fingerprints (Haitsma & Kalker, ISMIR 2002).

A frame is a word of 32 bits. A bit says whether the difference of two neighbouring band energies
rose or fell since the frame before. Clips that share words at one offset are compared at that
offset; they are duplicates if few enough of the bits differ.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping

import numpy as np

from streamdet.constants import RATE

HOP, WINDOW = 256, 4_096
_EDGES = np.unique(np.geomspace(300.0, 3_600.0, 34) / (RATE / WINDOW)).astype(int)
BITS = len(_EDGES) - 2
_MIN_AGREEMENT = 0.87
_MIN_SHARED_WORDS = 2
_MAX_REPEATS = 3
"""A word that a clip repeats more often is a steady sound, such as a tone, and is not compared."""
_MAX_HOLDERS = 40
"""A word in more places than this is too common to be compared."""


def compute_fingerprint(samples: np.ndarray) -> np.ndarray:
    """Compute the ``(frames,) uint32`` words of ``(n,) float32`` samples at 16 kHz.

    Silence, and a sound that is too short for two frames, have none.
    """
    samples = np.pad(np.asarray(samples, np.float32), (WINDOW // 2, WINDOW // 2))
    if len(samples) < WINDOW + 2 * HOP or not np.any(samples):
        return np.zeros(0, np.uint32)
    windows = np.lib.stride_tricks.sliding_window_view(samples, WINDOW)[::HOP]
    taper = np.hanning(WINDOW).astype(np.float32)
    bands = []
    for start in range(0, len(windows), 512):
        power = np.abs(np.fft.rfft(windows[start : start + 512] * taper)) ** 2
        bands.append(np.add.reduceat(power, _EDGES, axis=1)[:, : len(_EDGES) - 1])
    slope = np.diff(np.concatenate(bands).astype(np.float32), axis=1)
    rise = slope[1:] > slope[:-1]
    weights = (1 << np.arange(rise.shape[1], dtype=np.uint64)).astype(np.uint64)
    return (rise @ weights).astype(np.uint32)


def find_duplicates(
    prints: Mapping[str, np.ndarray], least: float = 0.5, frames: int = 12
) -> list[tuple[str, str, float]]:
    """Find pairs of clips with the same recording: (name, name, share of bits that agree).

    The two must overlap by at least ``least`` of the shorter one and ``frames`` frames. Unrelated
    clips agree in 0.5 of their bits. The paper accepts 0.65 for noisy queries; unrelated steady
    sounds (bells, insects) reach 0.82, so 0.87 is required here.
    """
    places: dict[int, list[tuple[str, int]]] = defaultdict(list)
    for name, words in prints.items():
        unique, first, counts = np.unique(words, return_index=True, return_counts=True)
        for word, frame, count in zip(unique, first, counts, strict=True):
            if count <= _MAX_REPEATS and 0 < word < 0xFFFFFFFF:
                places[int(word)].append((name, int(frame)))
    offsets: dict[tuple[str, str], Counter[int]] = defaultdict(Counter)
    for holders in places.values():
        if len(holders) > _MAX_HOLDERS:
            continue
        for i, (one, frame) in enumerate(holders):
            for other, other_frame in holders[i + 1 :]:
                if one != other:
                    offsets[one, other][other_frame - frame] += 1
    found = []
    for (one, other), counts in offsets.items():
        offset, shared = counts.most_common(1)[0]
        if shared < _MIN_SHARED_WORDS:
            continue
        agreed, overlap = _measure_agreement(prints[one], prints[other], offset)
        shorter = min(len(prints[one]), len(prints[other]))
        if overlap >= max(frames, least * shorter) and agreed >= _MIN_AGREEMENT:
            found.append((one, other, agreed))
    return sorted(found)


def _measure_agreement(one: np.ndarray, other: np.ndarray, offset: int) -> tuple[float, int]:
    """The share of equal bits of one[i] and other[i + offset], and the number of frames."""
    first, last = max(0, -offset), min(len(one), len(other) - offset)
    differing = one[first:last] ^ other[first + offset : last + offset]
    wrong = int(np.unpackbits(differing.view(np.uint8)).sum())
    return 1.0 - wrong / (BITS * max(1, last - first)), last - first
