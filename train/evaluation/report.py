"""All metrics of a bundle on a set of scenes and on a split's clips, as one dict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from streamdet.detection.frames import FrameGrid
from streamdet.model.bundle import Bundle
from train.evaluation import clip_metrics, peers, psds, robustness, scene_metrics
from train.evaluation.scored_sets import (
    KINDS,
    ScoredClip,
    ScoredFile,
    group_by_kind,
    score_clips,
    score_scenes,
)

LEAD_S = 1.0


@dataclass(frozen=True)
class EvaluationReport:
    """A bundle's ``metrics`` on a set (a dict for JSON), the scored files and the peers' curves.

    A curve is (false alarms per hour, recall) pairs, by peer and kind of scene.
    """

    bundle: Bundle
    grid: FrameGrid
    files: list[ScoredFile]
    metrics: dict[str, Any]
    curves: dict[str, dict[str, list[tuple[float, float]]]] = field(default_factory=dict)


def evaluate_bundle(
    bundle: Bundle,
    scenes: Path,
    data: Path,
    split: str,
    peer_files: Sequence[Path] = (),
    *,
    robust: bool = False,
) -> EvaluationReport:
    """Evaluate a bundle on a set of scenes and, if ``data`` exists, on the clips of a split.

    With ``robust``, the scenes are also scored after each degradation. Raises SceneSetError for a
    folder that is not a set and for a peer's file that can't be read.
    """
    files = score_scenes(bundle, scenes)
    grid = scene_metrics.make_frame_grid(bundle)
    metrics = compute_set_metrics(bundle, files)
    if (data / "manifest.csv").is_file():
        clips = score_clips(bundle, data, split)
        metrics["clips"] = compute_clips_by_distance(bundle, clips)
        clips = score_clips(bundle, data, split, LEAD_S)
        with_lead = compute_clips_by_distance(bundle, clips)
        metrics["clips"]["close, after 1 s of faint noise"] = with_lead["close"]
    if robust:
        metrics["robustness"] = dict(robustness.compute_robustness(bundle, scenes))
    of_peers = {p.stem: peers.compute_peer_metrics(p, grid, files) for p in peer_files}
    curves = {n: {k: row.pop("curve") for k, row in kinds.items()} for n, kinds in of_peers.items()}
    if of_peers:
        metrics["peers"] = of_peers
    return EvaluationReport(bundle, grid, files, metrics, curves)


def compute_set_metrics(bundle: Bundle, files: Sequence[ScoredFile]) -> dict[str, Any]:
    """Compute the metrics of each kind of scene, and PSDS of the rare ones."""
    metrics: dict[str, Any] = {
        "bundle": f"{bundle.name}/{bundle.version}",
        "sha256": bundle.sha256,
    }
    for kind, of_kind in group_by_kind(files).items():
        metrics[kind] = scene_metrics.compute_scene_metrics(bundle, of_kind)
        if kind == "rare":
            grid = scene_metrics.make_frame_grid(bundle)
            metrics[kind]["psds"] = psds.compute_psds(grid, of_kind)
    return metrics


def compute_clips_by_distance(bundle: Bundle, clips: Sequence[ScoredClip]) -> dict[str, Any]:
    """Compute the metrics of close clips and of those of forest recorders separately."""
    threshold = bundle.operating_points[bundle.default_point].threshold
    near = [c for c in clips if not clip_metrics.is_far(c)]
    far = [c for c in clips if clip_metrics.is_far(c)]
    return {
        "close": clip_metrics.compute_clip_metrics(near, threshold),
        "forest": clip_metrics.compute_clip_metrics(far, threshold),
    }


def format_markdown(metrics: dict[str, Any]) -> str:
    """Format the metrics as Markdown: scenes, operating points, peers and clips."""
    kinds = [k for k in KINDS if k in metrics]
    lines = [
        "| scenes | events | hours | event ER | event F1 | recall at 1 / 6 / 20 FA/h |",
        "|---|---|---|---|---|---|",
    ]
    lines += [_format_best_row(kind, metrics[kind]) for kind in kinds]
    lines += [
        "",
        "| scenes | point | threshold | recall | false alarms per hour | F1 | onset F1 "
        "| onset error, s |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for kind in kinds:
        for name, row in metrics[kind]["points"].items():
            lines.append(f"| {kind} | {name} {_format_point_row(row)}")
    rare = metrics.get("rare")
    if rare:
        psds_text = "not computed" if rare["psds"] is None else f"{rare['psds']:.3f}"
        lines += [
            "",
            f"- rare, onset only (DCASE 2017 task 2): ER {rare['best_onset_error_rate']:.3f}, "
            f"F1 {rare['best_onset_f1']:.3f}",
            f"- rare, recall by EBR in dB at the best ER: {_format_pairs(rare['recall_by_ebr'])}",
            f"- rare, PSDS up to 20 false alarms per hour (sed-scores-eval): {psds_text}",
        ]
    for kind in kinds:
        row = metrics[kind]
        lines.append(f"- {kind}, calibration error of seconds: {row['calibration_error']:.3f}")
        if "verified_windows_h" in row:
            lines.append(f"- {kind}, windows verified per hour: {row['verified_windows_h']:g}")
    if "city" in metrics:
        found = _format_pairs(metrics["city"]["recall_by_ebr"])
        lines.append(f"- city, found by distance at the best ER: {found}")
    for peer, rows in metrics.get("peers", {}).items():
        for kind, row in rows.items():
            lines.append(
                f"- {peer} on {kind}: ER {row['best_error_rate']:.3f}, F1 {row['best_f1']:.3f}, "
                f"recall at 1 / 6 / 20 {_format_recalls(row)}"
            )
    for name, row in metrics.get("clips", {}).items():
        if row:
            lines.append(
                f"- clips, {name}: {row['shots']} shots, {row['others']} others: "
                f"AP {row['ap']:.3f} {_format_interval(row, 'ap')}, "
                f"AUC {row['auc']:.4f} {_format_interval(row, 'auc')}"
            )
    return "\n".join(lines)


def _format_best_row(kind: str, row: dict[str, Any]) -> str:
    return (
        f"| {kind} | {row['events']} | {row['hours']:.2f} | {row['best_error_rate']:.3f} "
        f"{_format_interval(row, 'error_rate')} | {row['best_f1']:.3f} | {_format_recalls(row)} |"
    )


def _format_point_row(row: dict[str, Any]) -> str:
    onset_f1 = row.get("onset_f1")
    onset_text = "" if onset_f1 is None else f"{onset_f1:.3f}"
    error = row.get("onset_error_s")
    error_text = f"{error['median']:.3f}, p90 {error['p90']:.3f}" if error else ""
    return (
        f"| {row['threshold']:.3f} | {row['recall']:.3f} {_format_interval(row, 'recall')} "
        f"| {row['false_alarms_h']:.1f} {_format_interval(row, 'false_alarms_h')} "
        f"| {row['f1']:.3f} | {onset_text} | {error_text} |"
    )


def _format_recalls(row: dict[str, Any]) -> str:
    return " / ".join(f"{row[f'recall_at_{n}_fa_h']:.3f}" for n in scene_metrics.BUDGETS)


def _format_interval(row: dict[str, Any], name: str) -> str:
    ends = row.get("interval", {}).get(name)
    return f"({ends[0]:g} to {ends[1]:g})" if ends else ""


def _format_pairs(row: dict[str, str]) -> str:
    return ", ".join(f"{k}: {v}" for k, v in row.items())
