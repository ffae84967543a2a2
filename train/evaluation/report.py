"""All figures of a bundle on a set of scenes and on a split's clips, as one plain dict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from streamdet.detection.frames import FrameGrid
from streamdet.model.bundle import Bundle
from train.evaluation import clips as of_clip
from train.evaluation import peers, psds, robustness, scene_metrics
from train.evaluation.scored_sets import (
    ScoredClip,
    ScoredFile,
    group_by_kind,
    score_clips,
    score_scenes,
)

LEAD_S = 1.0


@dataclass(frozen=True)
class EvaluationReport:
    """A bundle's ``figures`` (for JSON) on a set, the files as heard, and the peers' curves:
    name -> kind -> (false alarms an hour, recall) pairs."""

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
    """Hear a set, and the clips of a split where ``data`` is there; raises SetError for a
    folder or a peer's file that is not one."""
    files = score_scenes(bundle, scenes)
    out = compute_set_metrics(bundle, files)
    if (data / "manifest.csv").is_file():
        out["clips"] = compute_clips_by_distance(bundle, score_clips(bundle, data, split))
        led = compute_clips_by_distance(bundle, score_clips(bundle, data, split, LEAD_S))
        out["clips"]["close, after 1 s of faint noise"] = led["close"]
    if robust:
        out["robustness"] = dict(robustness.compute_robustness(bundle, scenes))
    found = {path.stem: peers.compute_peer_metrics(path, files) for path in peer_files}
    curves = {n: {k: row.pop("curve") for k, row in kinds.items()} for n, kinds in found.items()}
    if found:
        out["peers"] = found
    return EvaluationReport(bundle, scene_metrics.make_frame_grid(bundle), files, out, curves)


def compute_set_metrics(bundle: Bundle, files: Sequence[ScoredFile]) -> dict[str, Any]:
    """`figures.of_scenes` of each kind of scene, PSDS beside the rare ones."""
    out: dict[str, Any] = {"bundle": f"{bundle.name}/{bundle.version}", "sha256": bundle.sha256}
    for kind, some in group_by_kind(files).items():
        out[kind] = scene_metrics.compute_scene_metrics(bundle, some)
        if kind == "rare":
            out[kind]["psds"] = psds.compute_psds(scene_metrics.make_frame_grid(bundle), some)
    return out


def compute_clips_by_distance(bundle: Bundle, clips: Sequence[ScoredClip]) -> dict[str, Any]:
    """The ranking of close shots and of far ones (forest recorders), each among others of
    their own kind."""
    threshold = bundle.operating_points[bundle.default_point].threshold
    near = [c for c in clips if not of_clip.is_far(c)]
    far = [c for c in clips if of_clip.is_far(c)]
    return {
        "close": of_clip.compute_clip_metrics(near, threshold),
        "forest": of_clip.compute_clip_metrics(far, threshold),
    }


def format_markdown(figures: dict[str, Any]) -> str:
    """The figures as tables: best thresholds, operating points, clips."""
    kinds = [k for k in ("rare", "film", "bursts") if k in figures]
    lines = [
        "| scenes | events | hours | event ER | event F1 | recall at 1 / 6 / 20 FA/h |",
        "|---|---|---|---|---|---|",
    ]
    lines += [_format_best_row(kind, figures[kind]) for kind in kinds]
    lines += [
        "",
        "| scenes | point | threshold | recall | false alarms an hour | F1 | onset error, s |",
        "|---|---|---|---|---|---|---|",
    ]
    for kind in kinds:
        for name, row in figures[kind]["points"].items():
            lines.append(f"| {kind} | {name} {_format_point_row(row)}")
    rare = figures.get("rare")
    if rare:
        psds_said = "not computed" if rare["psds"] is None else f"{rare['psds']:.3f}"
        lines += [
            "",
            f"- rare, onset only (DCASE 2017 task 2): ER {rare['best_onset_error_rate']:.3f}, "
            f"F1 {rare['best_onset_f1']:.3f}",
            f"- rare, recall by EBR in dB at the best ER: {_format_pairs(rare['recall_by_ebr'])}",
            f"- rare, PSDS to 20 false alarms an hour (sed-scores-eval): {psds_said}",
        ]
    for peer, kinds in figures.get("peers", {}).items():
        for kind, row in kinds.items():
            recalls = " / ".join(f"{row[f'recall_at_{n}_fa_h']:.3f}" for n in (1, 6, 20))
            lines.append(
                f"- {peer} on {kind}: ER {row['best_error_rate']:.3f}, F1 {row['best_f1']:.3f}, "
                f"recall at 1 / 6 / 20 {recalls}"
            )
    for name, row in figures.get("clips", {}).items():
        if row:
            lines.append(
                f"- clips, {name}: {row['shots']} shots, {row['others']} others: "
                f"AP {row['ap']:.3f} {_format_interval(row, 'ap')}, "
                f"AUC {row['auc']:.4f} {_format_interval(row, 'auc')}"
            )
    return "\n".join(lines)


def _format_best_row(kind: str, row: dict[str, Any]) -> str:
    recalls = " / ".join(f"{row[f'recall_at_{n}_fa_h']:.3f}" for n in (1, 6, 20))
    return (
        f"| {kind} | {row['events']} | {row['hours']:.2f} | {row['best_error_rate']:.3f} "
        f"{_format_interval(row, 'error_rate')} | {row['best_f1']:.3f} | {recalls} |"
    )


def _format_point_row(row: dict[str, Any]) -> str:
    error = row.get("onset_error_s")
    said = f"{error['median']:.3f}, p90 {error['p90']:.3f}" if error else ""
    return (
        f"| {row['threshold']:.3f} | {row['recall']:.3f} {_format_interval(row, 'recall')} "
        f"| {row['false_alarms_h']:.1f} {_format_interval(row, 'false_alarms_h')} "
        f"| {row['f1']:.3f} | {said} |"
    )


def _format_interval(row: dict[str, Any], name: str) -> str:
    ends = row.get("interval", {}).get(name)
    return f"({ends[0]:g} to {ends[1]:g})" if ends else ""


def _format_pairs(row: dict[str, str]) -> str:
    return ", ".join(f"{k}: {v}" for k, v in row.items())
