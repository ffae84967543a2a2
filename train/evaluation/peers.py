"""Metrics of other detectors on the same scenes, from files of their frame scores."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from streamdet.detection.frames import FrameGrid
from train.evaluation import metrics
from train.evaluation.scene_metrics import BUDGETS, total_hours
from train.evaluation.scored_sets import SceneSetError, ScoredFile, group_by_kind


def compute_peer_metrics(
    path: Path, grid: FrameGrid, files: Sequence[ScoredFile]
) -> dict[str, Any]:
    """Compute a peer's best ER, F1 and recalls for each kind of scene.

    ``path`` is a JSON lines file with a line ``{"file", "win", "frames": [[start_s, score], ...]}``
    per file; ``win`` is the length of a score's window in seconds. ``files`` are the scenes, scored
    on ``grid``; their length gives the false alarms per hour. Raises SceneSetError if ``path`` has
    another format or lacks some of the scenes of a kind; kinds that it lacks are left out.
    """
    rows: dict[str, dict[str, Any]] = {}
    try:
        for line in path.read_text().splitlines():
            row = json.loads(line)
            rows["/".join(row["file"].split("/")[-2:])] = row
        kinds = {
            kind: of_kind
            for kind, of_kind in group_by_kind(files).items()
            if any(f.name in rows for f in of_kind)
        }
        if not kinds:
            raise LookupError("no scene")
        return {k: _compute_kind_metrics(rows, grid, of_kind) for k, of_kind in kinds.items()}
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise SceneSetError(f"{path}: no frame scores of this set: {error!r}") from error


def _compute_kind_metrics(
    rows: dict[str, dict[str, Any]], grid: FrameGrid, files: Sequence[ScoredFile]
) -> dict[str, Any]:
    window_s = float(rows[files[0].name]["win"])
    starts = [start for start, _ in rows[files[0].name]["frames"]]
    hop_s = starts[1] - starts[0]
    scored = [(np.array([p for _, p in rows[f.name]["frames"]]), f.truth) for f in files]
    hours = total_hours(grid, files)
    thresholds = metrics.choose_thresholds(scored, 120)
    counts = metrics.sweep_thresholds(scored, hop_s, thresholds, window_s=window_s)
    return {
        "best_error_rate": round(min(c.error_rate for c in counts), 3),
        "best_f1": round(max(c.f1 for c in counts), 3),
        **{
            f"recall_at_{n}_fa_h": round(metrics.find_recall_at_rate(counts, hours, n), 3)
            for n in BUDGETS
        },
        "curve": [(c.false_alarms / hours, c.recall) for c in counts],
    }
