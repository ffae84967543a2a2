"""Find the sounds in a clip: strong labels from weak ones, by energy and spectral flux.

A clip's label says that it holds a shot, not when. Its *activity* follows the benchmark's rule:
the frames within 25 dB of the clip's loudest frame. Its *onsets* are the peaks of spectral flux
(Dixon, *Onset Detection Revisited*, DAFx 2006) of more than 6 dB within 15 dB of the loudest frame.
All lengths are in 10 ms frames.

A field recorder's clip is noise with far shots in it, often with boxes around them. A narrow box
begins at a measured onset. In a wide box, or in the whole clip without one, the onset is the
sharpest rise; it is reliable if no other rise is nearly as sharp.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from streamdet.constants import RATE

HOP = 160
"""Samples in 10 ms."""
DROP_DB = 25.0
ONSET_DROP_DB = 15.0
ONSET_FLUX_DB = 6.0
MIN_ONSET_GAP = 5
NARROW_BOX_S = 0.4
"""Boxes up to this length begin at a measured onset."""
FAR_FLUX_DB = 4.0
FAR_LEAD = 1.3
_FAR_EDGE = 8
_FAR_BOX_LEAD = 25
_FAR_DECAY = 50
_EDGES = np.unique(np.geomspace(2, 129, 17).astype(int))


class StrongLabels(NamedTuple):
    """The activity and the onsets of a clip, in 10 ms frames.

    ``active`` is (frames,) bool, ``onsets`` (n,) int32 with n >= 1. Only ``reliable`` onsets are
    trained on; ``measured`` ones come from annotations, and every shot of the clip has one.
    """

    active: np.ndarray
    onsets: np.ndarray
    reliable: bool
    measured: bool = False


def find_strong_labels(
    samples: np.ndarray, kind: str, boxes_s: Sequence[tuple[float, float]] = ()
) -> StrongLabels:
    """Find the activity and onsets of a clip of the manifest's ``kind``.

    ``boxes_s`` are the annotator's boxes (onset, offset) in seconds, one for each shot.
    """
    labels = find_shots(samples)
    if kind != "field":
        return labels
    if boxes_s and all(offset - onset <= NARROW_BOX_S for onset, offset in boxes_s):
        last = max(0, len(samples) // HOP - 1)
        onsets = {min(round(onset * RATE / HOP), last) for onset, _ in boxes_s}
        return StrongLabels(labels.active, np.array(sorted(onsets), np.int32), True, True)
    shots = [find_far_shot(samples, box) for box in boxes_s or [None]]
    onsets = np.unique(np.array([onset for onset, _ in shots], np.int32))
    return StrongLabels(labels.active, onsets, all(reliable for _, reliable in shots))


def find_shots(samples: np.ndarray) -> StrongLabels:
    """Find the activity and onsets of ``(n,) float32`` samples at 16 kHz."""
    level = compute_level_db(samples)
    active = level > level.max() - DROP_DB
    flux = compute_spectral_flux_db(samples)
    reached = np.maximum(level, np.append(level[1:], level[-1:]))
    strong = (flux > ONSET_FLUX_DB) & (reached > level.max() - ONSET_DROP_DB)
    onsets: list[int] = []
    for frame in np.flatnonzero(strong):
        peak = flux[max(0, frame - 2) : frame + 3].max()
        if flux[frame] == peak and (not onsets or frame - onsets[-1] >= MIN_ONSET_GAP):
            onsets.append(int(frame))
    if not onsets:
        onsets = [int(np.argmax(flux))]
    return StrongLabels(active, np.asarray(onsets, np.int32), True)


def find_far_shot(
    samples: np.ndarray, box_s: tuple[float, float] | None = None
) -> tuple[int, bool]:
    """Find the frame of the sharpest rise in a clip, or in an annotator's box, and its reliability.

    ``box_s`` is (onset, offset) in seconds. The onset is reliable if its flux is over 4 dB and over
    1.3 times that of the next rise outside its decay.
    """
    flux = compute_spectral_flux_db(samples)
    flux[:_FAR_EDGE] = flux[max(0, len(flux) - _FAR_EDGE) :] = 0.0
    if box_s is not None:
        flux[: max(0, round(box_s[0] * 100) - _FAR_BOX_LEAD)] = 0.0
        flux[round(box_s[1] * 100) + 1 :] = 0.0
    onset = int(np.argmax(flux))
    top = float(flux[onset])
    flux[max(0, onset - 15) : onset + _FAR_DECAY] = 0.0
    return onset, top > FAR_FLUX_DB and top > FAR_LEAD * float(flux.max(initial=0.0))


def find_event(samples: np.ndarray) -> tuple[int, int]:
    """Find the onset and offset in samples of a clip's activity, by the benchmark's rule."""
    active = np.flatnonzero(find_shots(samples).active)
    return int(active[0]) * HOP, min(len(samples), int(active[-1] + 1) * HOP)


def compute_level_db(samples: np.ndarray) -> np.ndarray:
    """Compute the RMS of each 10 ms frame in dB re full scale, (frames,) float32."""
    frames = _split_into_frames(samples, HOP)
    return (10.0 * np.log10(np.mean(frames**2, axis=1) + 1e-12)).astype(np.float32)


def compute_spectral_flux_db(samples: np.ndarray) -> np.ndarray:
    """Compute the mean rise over 20 ms of 16 log-spaced bands in dB, falls as 0; (frames,)."""
    windows = np.lib.stride_tricks.sliding_window_view(
        np.concatenate([np.zeros(96, np.float32), samples, np.zeros(HOP, np.float32)]), 256
    )[::HOP]
    count = len(_split_into_frames(samples, HOP))
    power = np.abs(np.fft.rfft(windows[:count] * np.hanning(256).astype(np.float32))) ** 2
    bands = np.add.reduceat(power, _EDGES[:-1], axis=1)
    db = 10.0 * np.log10(bands + 1e-6)
    before = np.concatenate([np.full((2, db.shape[1]), -60.0), db[:-2]])
    rise = np.maximum(0.0, db - before).mean(axis=1)
    flux = np.zeros(count, np.float32)
    flux[: len(rise)] = rise
    return flux


def _split_into_frames(samples: np.ndarray, hop: int) -> np.ndarray:
    whole = -(-max(1, len(samples)) // hop) * hop
    return np.pad(samples, (0, whole - len(samples))).reshape(-1, hop)
