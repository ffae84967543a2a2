"""Metrics of the same scenes after degradations: codecs, clipping, lower level, reverberation."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import soxr

from streamdet.constants import RATE
from streamdet.model.bundle import Bundle
from train.data import codecs, effects, spaces
from train.evaluation import metrics, scene_metrics
from train.evaluation.scored_sets import SampleTransform, group_by_kind, score_scenes

CLIP_AT_DB = 12.0
"""dB below the peak at which samples are clipped."""


def list_degradations() -> dict[str, SampleTransform]:
    """List the degradations by name; each keeps the length, the timing and the 16 kHz."""
    rows: dict[str, SampleTransform] = {"as it is": lambda x: x}
    for name in codecs.CODEC_NAMES:
        rows[f"{name}, low rate"] = partial(_apply_codec, name)
    rows["8 kHz"] = _resample_through_8_khz
    rows[f"clipped, {CLIP_AT_DB:.0f} dB under the peak"] = _clip
    rows["-20 dB"] = lambda x: x * np.float32(0.1)
    rows["room"] = partial(_reverberate, "room")
    rows["street"] = partial(_reverberate, "street")
    return rows


def compute_robustness(bundle: Bundle, scenes: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the name of each degradation with the best ER, F1 and recall of each kind of scene."""
    grid = scene_metrics.make_frame_grid(bundle)
    for name, degrade in list_degradations().items():
        row: dict[str, Any] = {}
        for kind, files in group_by_kind(score_scenes(bundle, scenes, degrade)).items():
            if kind == "bursts":
                continue
            curve = scene_metrics.compute_curve(grid, files)
            hours = scene_metrics.total_hours(grid, files)
            row[kind] = {
                "best_error_rate": round(min(r.error_rate for r in curve), 3),
                "best_f1": round(max(r.f1 for r in curve), 3),
                "recall_at_6_fa_h": round(metrics.find_recall_at_rate(curve, hours, 6.0), 3),
            }
        yield name, row


def _apply_codec(name: str, x: np.ndarray) -> np.ndarray:
    return codecs.apply_codec(name, x, 0.0)


def _resample_through_8_khz(x: np.ndarray) -> np.ndarray:
    restored = soxr.resample(soxr.resample(x, RATE, RATE / 2), RATE / 2, RATE)
    return np.pad(restored, (0, max(0, len(x) - len(restored))))[: len(x)].astype(np.float32)


def _clip(x: np.ndarray) -> np.ndarray:
    limit = float(np.abs(x).max(initial=1e-9)) * 10.0 ** (-CLIP_AT_DB / 20.0)
    return np.clip(x, -limit, limit)


def _reverberate(kind: str, x: np.ndarray) -> np.ndarray:
    response = spaces.make_response_bank(kind)[0]
    reverberated = effects.apply_filters(x, response, [])[: len(x)]
    return reverberated * np.float32(
        min(1.0, 0.95 / (float(np.abs(reverberated).max(initial=0.0)) + 1e-9))
    )
