"""Other detectors on the same scenes, from the frame scores that the benchmark keeps of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from train.evaluation import metrics
from train.evaluation.scene_metrics import BUDGETS
from train.evaluation.scored_sets import SceneSetError, ScoredFile, group_by_kind


def compute_peer_metrics(path: Path, files: Sequence[ScoredFile]) -> dict[str, Any]:
    """A peer's best ER, F1 and recalls of each kind of scene; ``path`` has a line
    ``{"file", "win", "frames": [[start_s, score], ...]}`` a file. Raises SetError for a file
    that is not that, or that lacks a scene."""
    heard: dict[str, dict[str, Any]] = {}
    try:
        for line in path.read_text().splitlines():
            row = json.loads(line)
            heard["/".join(row["file"].split("/")[-2:])] = row
        return {
            kind: _compute_kind_metrics(heard, some) for kind, some in group_by_kind(files).items()
        }
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SceneSetError(f"{path}: no peer's scores of this set: {error!r}") from error


def _compute_kind_metrics(
    heard: dict[str, dict[str, Any]], files: Sequence[ScoredFile]
) -> dict[str, Any]:
    scored, seconds = [], 0.0
    window_s = float(heard[files[0].name]["win"])
    starts = [t for t, _ in heard[files[0].name]["frames"]]
    hop_s = starts[1] - starts[0]
    for file in files:
        scored.append((np.array([p for _, p in heard[file.name]["frames"]]), file.truth))
        seconds += len(file.frames.level) * 0.04
    rows = metrics.sweep_thresholds(
        scored, hop_s, metrics.choose_thresholds(scored, 120), window_s=window_s
    )
    return {
        "best_error_rate": round(min(r.error_rate for r in rows), 3),
        "best_f1": round(max(r.f1 for r in rows), 3),
        **{
            f"recall_at_{n}_fa_h": round(metrics.find_recall_at_rate(rows, seconds / 3600, n), 3)
            for n in BUDGETS
        },
        "curve": [(r.false_alarms / seconds * 3600, r.recall) for r in rows],
    }
