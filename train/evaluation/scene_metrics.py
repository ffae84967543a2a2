"""The figures of a set of scenes: event metrics at every threshold and at each point.

The rules are `train.evaluation.metrics`'; intervals are bootstrapped by recording (Efron & Tibshirani,
*An Introduction to the Bootstrap*, 1993): true events are drawn by the recording that they
come from, false alarms by the minute that they fall in.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np

from streamdet.detection import decision
from streamdet.detection.decision import DecisionConfig
from streamdet.detection.frames import FrameGrid
from streamdet.model.bundle import Bundle
from streamdet.scoring.matching import overlaps
from train.evaluation import metrics
from train.evaluation.metrics import Alarm, EventCounts, MatchRule, Span
from train.evaluation.scored_sets import ScoredFile

NEAR_S = 0.5
DRAWS = 1_000
UNKNOWN = "unknown"
BUDGETS = (1, 6, 20)
"""False alarms an hour at which recall is reported."""


def make_frame_grid(bundle: Bundle) -> FrameGrid:
    """How a bundle's frames lie on samples."""
    front, model = bundle.frontend, bundle.model
    return FrameGrid(front.sample_rate, front.hop, model.stride, model.labels)


def total_hours(grid: FrameGrid, files: Sequence[ScoredFile]) -> float:
    """The length of all files together."""
    return sum(len(f.frames.level) for f in files) * grid.frame / grid.rate / 3600


def detect_events(
    grid: FrameGrid, config: DecisionConfig, file: ScoredFile
) -> list[tuple[Alarm, decision.Detection]]:
    """A file's final events as (onset_s, offset_s, score), each with what was said."""
    state, found = decision.step(config, grid, decision.init(config, grid), file.frames)
    found += decision.finish(config, grid, state)[1]
    return [
        ((d.onset / grid.rate, d.offset / grid.rate, d.score), d)
        for d in found
        if d.offset is not None
    ]


def detect_alarms(grid: FrameGrid, config: DecisionConfig, file: ScoredFile) -> list[Alarm]:
    """`detections` without what was said."""
    return [alarm for alarm, _ in detect_events(grid, config, file)]


def count_at_threshold(
    grid: FrameGrid,
    files: Sequence[ScoredFile],
    config: DecisionConfig,
    rule: MatchRule = metrics.match_events,
) -> EventCounts:
    """Counts of the decision's events by a rule: the benchmark's, or `metrics.onset_match`."""
    heard = ((detect_alarms(grid, config, file), file.truth) for file in files)
    return metrics.count_events(config.threshold, heard, rule)


def compute_curve(
    grid: FrameGrid, files: Sequence[ScoredFile], rule: MatchRule = metrics.match_events
) -> list[EventCounts]:
    """Counts of the frame scores at 120 thresholds, as the benchmark's ruler takes them."""
    scored = [(f.frames.scores[:, 0], f.truth) for f in files]
    thresholds = metrics.choose_thresholds(scored, 120)
    return metrics.sweep_thresholds(scored, grid.frame / grid.rate, thresholds, rule)


def compute_scene_metrics(bundle: Bundle, files: Sequence[ScoredFile]) -> dict[str, Any]:
    """The figures of scenes of one kind; a plain dict for JSON."""
    grid = make_frame_grid(bundle)
    hours, rows = total_hours(grid, files), compute_curve(grid, files)
    best = min(rows, key=lambda r: r.error_rate)
    out: dict[str, Any] = {
        "files": len(files),
        "hours": round(hours, 3),
        "events": best.hits + best.misses,
        "best_error_rate": round(best.error_rate, 3),
        "best_f1": round(max(r.f1 for r in rows), 3),
        "best_threshold": round(best.threshold, 4),
        **{
            f"recall_at_{n}_fa_h": round(metrics.find_recall_at_rate(rows, hours, n), 3)
            for n in BUDGETS
        },
        "interval": _compute_interval(grid, files, best.threshold),
    }
    if files[0].kind == "rare":
        onsets = compute_curve(grid, files, metrics.match_strongest_onset)
        out["best_onset_error_rate"] = round(min(r.error_rate for r in onsets), 3)
        out["best_onset_f1"] = round(max(r.f1 for r in onsets), 3)
        out["recall_by_ebr"] = compute_recall_by_ebr(grid, files, best.threshold)
    out["points"] = {
        name: compute_point_metrics(grid, files, point.threshold)
        for name, point in bundle.operating_points.items()
    }
    return out


def compute_point_metrics(
    grid: FrameGrid, files: Sequence[ScoredFile], threshold: float
) -> dict[str, Any]:
    """The figures of the decision's own events at a threshold."""
    config = DecisionConfig(threshold)
    counts, hours = count_at_threshold(grid, files, config), total_hours(grid, files)
    row: dict[str, Any] = {
        "threshold": round(threshold, 4),
        "recall": round(counts.recall, 3),
        "false_alarms_h": round(counts.false_alarms / hours, 2),
        "error_rate": round(counts.error_rate, 3),
        "f1": round(counts.f1, 3),
    }
    if files[0].kind == "rare":
        row["onset_f1"] = round(
            count_at_threshold(grid, files, config, metrics.match_strongest_onset).f1, 3
        )
    errors = compute_onset_errors(grid, files, config)
    if errors:
        row["onset_error_s"] = {
            "median": round(float(np.median(errors)), 3),
            "p90": round(float(np.quantile(errors, 0.9)), 3),
        }
    found = [detect_alarms(grid, config, f) for f in files]
    row["interval"] = bootstrap_intervals(
        count_hits_by_group(found, files), count_alarms_by_minute(grid, found, files)
    )
    row["recall_by_ebr"] = _share_found_by(found, files, lambda e: _name_ebr_bin(e.ebr_db))
    if any(f.contents for f in files):
        row["false_alarms_h_by_label"] = count_false_alarms_by_label(grid, found, files)
    if files[0].kind == "bursts":
        row["rounds"] = compare_rounds(grid, files, config)
    return row


def compute_onset_errors(
    grid: FrameGrid, files: Sequence[ScoredFile], config: DecisionConfig
) -> list[float]:
    """Seconds from each found event's true onset to its nearest alarm's."""
    errors: list[float] = []
    for file in files:
        found = detect_alarms(grid, config, file)
        for hit, (onset, _) in zip(
            metrics.match_events(found, file.truth)[0], file.truth, strict=True
        ):
            if hit:
                errors.append(min(abs(alarm[0] - onset) for alarm in found))
    return errors


def compare_rounds(
    grid: FrameGrid, files: Sequence[ScoredFile], config: DecisionConfig
) -> dict[str, Any]:
    """Rounds counted in found bursts against the truth: how many are exact, within one, and
    the median of count over truth."""
    pairs = []
    for file in files:
        found = detect_events(grid, config, file)
        for event in file.events:
            near = [d.rounds for alarm, d in found if _overlaps(alarm, event.span)]
            if near and event.rounds is not None:
                pairs.append((sum(near), event.rounds))
    if not pairs:
        return {"bursts": 0}
    counted, true = np.array(pairs, float).T
    return {
        "bursts": len(pairs),
        "exact": round(float(np.mean(counted == true)), 3),
        "within_one": round(float(np.mean(abs(counted - true) <= 1)), 3),
        "median_ratio": round(float(np.median(counted / true)), 3),
    }


def compute_recall_by_ebr(
    grid: FrameGrid, files: Sequence[ScoredFile], threshold: float
) -> dict[str, str]:
    """Found of all by EBR, from the frame scores."""
    hop_s = grid.frame / grid.rate
    found = [metrics.find_alarms(f.frames.scores[:, 0], hop_s, threshold) for f in files]
    return _share_found_by(found, files, lambda e: _name_ebr_bin(e.ebr_db))


def count_false_alarms_by_label(
    grid: FrameGrid, found: Sequence[Sequence[Alarm]], files: Sequence[ScoredFile]
) -> dict[str, float]:
    """False alarms an hour by the label of the sound that begins nearest, or of the beds."""
    labels: Counter[str] = Counter()
    for alarms, file in zip(found, files, strict=True):
        for alarm in alarms:
            if not any(_overlaps(alarm, span) for span in file.truth):
                labels[find_cause(alarm, file)] += 1
    hours = total_hours(grid, files)
    return {label: round(count / hours, 2) for label, count in labels.most_common()}


def find_cause(alarm: Alarm, file: ScoredFile) -> str:
    """The label of the sound that begins nearest to an alarm; its beds' where there is none."""
    here = [c for c in file.contents if _overlaps(alarm, c.span)]
    sounds = [c for c in here if c.role == "sound"]
    if sounds:
        return min(sounds, key=lambda c: abs(c.span[0] - alarm[0])).label
    return " + ".join(sorted({c.label for c in here})) or UNKNOWN


def count_hits_by_group(
    found: Sequence[Sequence[Alarm]], files: Sequence[ScoredFile]
) -> list[tuple[int, int]]:
    """(hits, events) of each recording that true events come from."""
    groups: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for alarms, file in zip(found, files, strict=True):
        hits, _ = metrics.match_events(alarms, file.truth)
        for hit, event in zip(hits, file.events, strict=True):
            groups[event.group][0] += hit
            groups[event.group][1] += 1
    return [(hits, events) for hits, events in groups.values()]


def count_alarms_by_minute(
    grid: FrameGrid, found: Sequence[Sequence[Alarm]], files: Sequence[ScoredFile]
) -> list[tuple[int, float]]:
    """(false alarms, minutes) of each minute, or what is left of one, of each file."""
    pieces = []
    for alarms, file in zip(found, files, strict=True):
        minutes = len(file.frames.level) * grid.frame / grid.rate / 60
        false = [a for a in alarms if not any(_overlaps(a, span) for span in file.truth)]
        counted = Counter(min(int(a[0] // 60), max(0, int(np.ceil(minutes)) - 1)) for a in false)
        pieces += [(counted[m], min(1.0, minutes - m)) for m in range(int(np.ceil(minutes)))]
    return pieces


def bootstrap_intervals(
    groups: Sequence[tuple[int, int]], minutes: Sequence[tuple[int, float]]
) -> dict[str, list[float]]:
    """95 % percentile intervals of recall, false alarms an hour, ER and F1, 1,000 draws."""
    rng = np.random.default_rng(0)
    g, m = np.array(groups, float).reshape(-1, 2), np.array(minutes, float).reshape(-1, 2)
    if not len(g) or not len(m):
        return {}
    hits, events = g[rng.integers(len(g), size=(DRAWS, len(g)))].sum(axis=1).T
    false, heard = m[rng.integers(len(m), size=(DRAWS, len(m)))].sum(axis=1).T
    false_here = false * (m[:, 1].sum() / heard)
    drawn = {
        "recall": hits / events,
        "false_alarms_h": false / heard * 60,
        "error_rate": (events - hits + false_here * events / g[:, 1].sum()) / events,
        "f1": 2 * hits / (hits + events + false_here * events / g[:, 1].sum()),
    }
    return {
        name: [round(float(np.quantile(x, q)), 3) for q in (0.025, 0.975)]
        for name, x in drawn.items()
    }


def _compute_interval(
    grid: FrameGrid, files: Sequence[ScoredFile], threshold: float
) -> dict[str, list[float]]:
    hop_s = grid.frame / grid.rate
    found = [metrics.find_alarms(f.frames.scores[:, 0], hop_s, threshold) for f in files]
    return bootstrap_intervals(
        count_hits_by_group(found, files), count_alarms_by_minute(grid, found, files)
    )


def _share_found_by(found, files, key) -> dict[str, str]:
    counts: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for alarms, file in zip(found, files, strict=True):
        hits, _ = metrics.match_events(alarms, file.truth)
        for hit, event in zip(hits, file.events, strict=True):
            counts[key(event)][0] += hit
            counts[key(event)][1] += 1
    ordered = sorted(counts.items(), key=lambda item: float(item[0].split()[0]))
    return {name: f"{a}/{b}" for name, (a, b) in ordered}


def _name_ebr_bin(ebr_db: str) -> str:
    """The EBR itself where it is whole (a protocol's), its 6 dB range where it is drawn."""
    value = float(ebr_db)
    if value == int(value):
        return f"{value:g}"
    low = int(value // 6) * 6
    return f"{low} to {low + 6}"


def _overlaps(alarm: Alarm, span: Span) -> bool:
    return overlaps(alarm, span, NEAR_S)
