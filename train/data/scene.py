"""A mixed scene and its targets, finished and in the making."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from train.data.labels import LABELS
from train.data.teacher import TeacherTrack

FRAME = 640
"""Samples in a frame of targets, unless the model's frame is given: 40 ms."""


class Scene(NamedTuple):
    """A mixed scene and its targets.

    ``samples`` is (n,) float32. ``targets`` and ``weights`` are (frames, labels) float32 and
    ``bag`` is (frames,) float32; a frame ends where the model's frame of the same index ends.
    ``teacher`` is (windows, classes) float32, one row every 0.48 s. The frames with a ``bag`` above
    0, if any, hold a shot at an unknown position. ``posterior`` is (frames,) float32, a teacher's
    gunshot logits, and ``features`` (ticks, dims) float32, its features in steps of 80 ms; both are
    empty where no teacher has answered the scene.
    """

    samples: np.ndarray
    targets: np.ndarray
    weights: np.ndarray
    bag: np.ndarray
    teacher: np.ndarray
    posterior: np.ndarray
    features: np.ndarray


class SceneDraft(NamedTuple):
    """An unfinished scene, in 10 ms frames."""

    samples: np.ndarray
    targets: np.ndarray
    weights: np.ndarray
    bag: np.ndarray
    teacher: TeacherTrack


def mark_after(onsets: np.ndarray, frames: int, reach: int) -> np.ndarray:
    """Mark the ``reach`` frames from each onset on: (frames,) bool. Onsets may be negative."""
    marked = np.zeros(frames, bool)
    for onset in onsets:
        marked[max(0, onset) : max(0, onset + reach)] = True
    return marked


def pool_to_model_frames(
    targets: np.ndarray, weights: np.ndarray, stride: int
) -> tuple[np.ndarray, np.ndarray]:
    """Pool 10 ms rows to the model's frames.

    A frame has a target if any of its rows has, and a weight if none of its rows is uncertain.
    """
    frames = len(targets) // stride
    t = targets[: frames * stride].reshape(frames, stride, -1).max(axis=1)
    w = weights[: frames * stride].reshape(frames, stride, -1)
    return t, np.where(t > 0.0, w.max(axis=1), w.min(axis=1)).astype(np.float32)


def silence_part(draft: SceneDraft, samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Replace a part of the samples by zeros, as where a file was padded or a stream was cut.

    The part begins with the scene, ends with it, or lies inside it. Its targets become 0. If it
    ends in a shot, what is left of the shot is neither trained as one nor as background. Returns
    new ``(n,) float32`` samples; the draft's targets and weights change in place.
    """
    count = len(draft.targets)
    length = int(rng.integers(count // 12, 2 * count // 3))
    inside = int(rng.integers(0, count - length))
    first = (0, count - length, inside)[rng.integers(3)]
    last = first + length
    hop = len(samples) // count
    samples = samples.copy()
    samples[first * hop : last * hop] = 0.0
    cut = draft.targets[last - 1] if last < count else np.zeros(len(LABELS), np.float32)
    for label in np.flatnonzero(cut):
        rest = draft.targets[last:, label]
        length = int(np.argmin(rest)) if not rest.all() else len(rest)
        draft.targets[last : last + length, label] = 0.0
        draft.weights[last : last + length, label] = 0.0
    draft.targets[first:last] = 0.0
    draft.weights[first:last] = 1.0
    draft.bag[:] = 0.0
    return samples
