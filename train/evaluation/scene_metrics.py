"""Event metrics of a set of scenes: at many thresholds, and at each operating point.

The rules are those of `train.evaluation.metrics`. Intervals are bootstrapped (Efron & Tibshirani,
*An Introduction to the Bootstrap*, 1993): true events are drawn by the recording they come from,
false alarms by the minute they fall in.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np

from streamdet.detection import confirmation, decision
from streamdet.detection.decision import DecisionConfig
from streamdet.detection.frames import FrameGrid
from streamdet.detection.verification import VerifiedScores
from streamdet.model.bundle import Bundle
from streamdet.scoring.matching import overlaps
from train.evaluation import metrics, reliability
from train.evaluation.metrics import Alarm, EventCounts, MatchRule, Span
from train.evaluation.scored_sets import ScoredFile

NEAR_S = 0.5
BOOTSTRAP_DRAWS = 1_000
CURVE_POINTS = 120
UNKNOWN, NOT_KNOWN = "unknown", "not known"
BUDGETS = (1, 6, 20)
"""False alarms per hour at which recall is reported."""


def make_frame_grid(bundle: Bundle) -> FrameGrid:
    """Make the frame grid of a bundle: its rate, hop, stride and labels."""
    front, model = bundle.frontend, bundle.model
    return FrameGrid(front.sample_rate, front.hop, model.stride, model.labels)


def total_hours(grid: FrameGrid, files: Sequence[ScoredFile]) -> float:
    """Sum the lengths of all files, in hours."""
    return sum(len(f.frames.level) for f in files) * grid.frame / grid.rate / 3600


def detect_events(
    grid: FrameGrid, config: DecisionConfig, file: ScoredFile
) -> list[tuple[Alarm, decision.Detection]]:
    """Find a file's final events: (onset_s, offset_s, score) and the detection of each.

    With a verifier these are the verified ones.
    """
    if file.stage is None:
        state, events = decision.step(config, grid, decision.init(config, grid), file.frames)
        events += decision.finish(config, grid, state)[1]
    else:
        final = VerifiedScores(0, file.frames.scores[:, 0], file.stage.windows)
        start = confirmation.init(config, grid)
        _, events = confirmation.step(config, grid, start, [], [file.frames], final, ending=True)
    return [
        ((d.onset / grid.rate, d.offset / grid.rate, d.score), d)
        for d in events
        if d.offset is not None
    ]


def count_at_threshold(
    grid: FrameGrid, files: Sequence[ScoredFile], config: DecisionConfig
) -> EventCounts:
    """Count hits, misses and false alarms of the decision's events."""
    alarms = (
        ([alarm for alarm, _ in detect_events(grid, config, file)], file.truth) for file in files
    )
    return metrics.count_events(config.threshold, alarms)


def compute_curve(
    grid: FrameGrid, files: Sequence[ScoredFile], rule: MatchRule = metrics.match_events
) -> list[EventCounts]:
    """Count on the frame scores at 120 thresholds, as the benchmark's score.py does."""
    scored = [(f.frames.scores[:, 0], f.truth) for f in files]
    thresholds = metrics.choose_thresholds(scored, CURVE_POINTS)
    return metrics.sweep_thresholds(scored, grid.frame / grid.rate, thresholds, rule)


def compute_scene_metrics(bundle: Bundle, files: Sequence[ScoredFile]) -> dict[str, Any]:
    """Compute the metrics of scenes of one kind, as a dict for JSON."""
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
    if files[0].kind in ("rare", "city"):
        out["recall_by_ebr"] = compute_recall_by_ebr(grid, files, best.threshold)
    peaks = reliability.collect_second_peaks(grid, files)
    out["calibration_error"] = round(reliability.compute_calibration_error(*peaks), 4)
    out["reliability"] = reliability.compute_reliability(*peaks)
    stages = [f.stage for f in files if f.stage is not None]
    if stages:
        out["verified_windows_h"] = round(sum(s.windows for s in stages) / hours, 1)
    out["points"] = {
        name: compute_point_metrics(grid, files, point.threshold)
        for name, point in bundle.operating_points.items()
    }
    return out


def compute_point_metrics(
    grid: FrameGrid, files: Sequence[ScoredFile], threshold: float
) -> dict[str, Any]:
    """Compute the metrics of the decision's events at a threshold."""
    detected = [detect_events(grid, DecisionConfig(threshold), file) for file in files]
    alarms_by_file = [[alarm for alarm, _ in events] for events in detected]
    matched = [(alarms, f.truth) for alarms, f in zip(alarms_by_file, files, strict=True)]
    counts, hours = metrics.count_events(threshold, matched), total_hours(grid, files)
    row: dict[str, Any] = {
        "threshold": round(threshold, 4),
        "recall": round(counts.recall, 3),
        "false_alarms_h": round(counts.false_alarms / hours, 2),
        "error_rate": round(counts.error_rate, 3),
        "f1": round(counts.f1, 3),
    }
    if files[0].kind == "rare":
        onsets = metrics.count_events(threshold, matched, metrics.match_strongest_onset)
        row["onset_f1"] = round(onsets.f1, 3)
    errors = compute_onset_errors(alarms_by_file, files)
    if errors:
        row["onset_error_s"] = {
            "median": round(float(np.median(errors)), 3),
            "p90": round(float(np.quantile(errors, 0.9)), 3),
        }
    row["interval"] = bootstrap_intervals(
        count_hits_by_group(alarms_by_file, files),
        count_alarms_by_minute(grid, alarms_by_file, files),
    )
    row["recall_by_ebr"] = _count_found_by_ebr(alarms_by_file, files)
    if any(f.contents for f in files):
        row["false_alarms_h_by_label"] = count_false_alarms_by_label(grid, alarms_by_file, files)
    if files[0].kind == "bursts":
        row["rounds"] = compare_rounds(detected, files)
    return row


def compute_onset_errors(
    alarms_by_file: Sequence[Sequence[Alarm]], files: Sequence[ScoredFile]
) -> list[float]:
    """Compute the seconds from each found event's true onset to that of the nearest alarm."""
    errors: list[float] = []
    for alarms, file in zip(alarms_by_file, files, strict=True):
        hits, _ = metrics.match_events(alarms, file.truth)
        for hit, (onset, _) in zip(hits, file.truth, strict=True):
            if hit:
                errors.append(min(abs(alarm[0] - onset) for alarm in alarms))
    return errors


def compare_rounds(
    detected_by_file: Sequence[Sequence[tuple[Alarm, decision.Detection]]],
    files: Sequence[ScoredFile],
) -> dict[str, Any]:
    """Compare the rounds counted in found bursts with the truth, on events of `detect_events`.

    Returns the shares that are exact and within one, and the median ratio of count to truth.
    """
    pairs = []
    for detected, file in zip(detected_by_file, files, strict=True):
        for event in file.events:
            rounds = [d.rounds for alarm, d in detected if _overlaps(alarm, event.span)]
            if rounds and event.rounds is not None:
                pairs.append((sum(rounds), event.rounds))
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
    """Compute the share of events found at each EBR, from the frame scores."""
    hop_s = grid.frame / grid.rate
    alarms_by_file = [metrics.find_alarms(f.frames.scores[:, 0], hop_s, threshold) for f in files]
    return _count_found_by_ebr(alarms_by_file, files)


def count_false_alarms_by_label(
    grid: FrameGrid, alarms_by_file: Sequence[Sequence[Alarm]], files: Sequence[ScoredFile]
) -> dict[str, float]:
    """Count the false alarms per hour by the label of their cause, as `find_cause` names it."""
    labels: Counter[str] = Counter()
    for alarms, file in zip(alarms_by_file, files, strict=True):
        for alarm in alarms:
            if not any(_overlaps(alarm, span) for span in file.truth):
                labels[find_cause(alarm, file)] += 1
    hours = total_hours(grid, files)
    return {label: round(count / hours, 2) for label, count in labels.most_common()}


def find_cause(alarm: Alarm, file: ScoredFile) -> str:
    """Find the label of the sound that begins nearest to an alarm, or else that of the beds."""
    contents = [c for c in file.contents if _overlaps(alarm, c.span)]
    sounds = [c for c in contents if c.role == "sound"]
    if sounds:
        return min(sounds, key=lambda c: abs(c.span[0] - alarm[0])).label
    return " + ".join(sorted({c.label for c in contents})) or UNKNOWN


def count_hits_by_group(
    alarms_by_file: Sequence[Sequence[Alarm]], files: Sequence[ScoredFile]
) -> list[tuple[int, int]]:
    """Count (hits, events) for each recording that true events come from."""
    groups: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for alarms, file in zip(alarms_by_file, files, strict=True):
        hits, _ = metrics.match_events(alarms, file.truth)
        for hit, event in zip(hits, file.events, strict=True):
            groups[event.group][0] += hit
            groups[event.group][1] += 1
    return [(hits, events) for hits, events in groups.values()]


def count_alarms_by_minute(
    grid: FrameGrid, alarms_by_file: Sequence[Sequence[Alarm]], files: Sequence[ScoredFile]
) -> list[tuple[int, float]]:
    """Count (false alarms, minutes) for each minute of each file; the last may be shorter."""
    rows = []
    for alarms, file in zip(alarms_by_file, files, strict=True):
        minutes = len(file.frames.level) * grid.frame / grid.rate / 60
        count = int(np.ceil(minutes))
        false = [a for a in alarms if not any(_overlaps(a, span) for span in file.truth)]
        alarms_in = Counter(min(int(a[0] // 60), max(0, count - 1)) for a in false)
        rows += [(alarms_in[m], min(1.0, minutes - m)) for m in range(count)]
    return rows


def bootstrap_intervals(
    groups: Sequence[tuple[int, int]], minutes: Sequence[tuple[int, float]]
) -> dict[str, list[float]]:
    """Compute 95 % percentile intervals of recall, false alarms per hour, ER and F1.

    ``groups`` are (hits, events) and ``minutes`` (false alarms, minutes), as counted above. There
    are 1,000 draws. Returns an empty dict if either is empty.
    """
    rng = np.random.default_rng(0)
    g, m = np.array(groups, float).reshape(-1, 2), np.array(minutes, float).reshape(-1, 2)
    if not len(g) or not len(m):
        return {}
    hits, events = g[rng.integers(len(g), size=(BOOTSTRAP_DRAWS, len(g)))].sum(axis=1).T
    false, length = m[rng.integers(len(m), size=(BOOTSTRAP_DRAWS, len(m)))].sum(axis=1).T
    false_scaled = false * (m[:, 1].sum() / length)
    drawn = {
        "recall": hits / events,
        "false_alarms_h": false / length * 60,
        "error_rate": (events - hits + false_scaled * events / g[:, 1].sum()) / events,
        "f1": 2 * hits / (hits + events + false_scaled * events / g[:, 1].sum()),
    }
    return {
        name: [round(float(np.quantile(x, q)), 3) for q in (0.025, 0.975)]
        for name, x in drawn.items()
    }


def _compute_interval(
    grid: FrameGrid, files: Sequence[ScoredFile], threshold: float
) -> dict[str, list[float]]:
    hop_s = grid.frame / grid.rate
    alarms_by_file = [metrics.find_alarms(f.frames.scores[:, 0], hop_s, threshold) for f in files]
    return bootstrap_intervals(
        count_hits_by_group(alarms_by_file, files),
        count_alarms_by_minute(grid, alarms_by_file, files),
    )


def _count_found_by_ebr(
    alarms_by_file: Sequence[Sequence[Alarm]], files: Sequence[ScoredFile]
) -> dict[str, str]:
    counts: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for alarms, file in zip(alarms_by_file, files, strict=True):
        hits, _ = metrics.match_events(alarms, file.truth)
        for hit, event in zip(hits, file.events, strict=True):
            ebr = _name_bin(event.ebr_db, file.kind)
            counts[ebr][0] += hit
            counts[ebr][1] += 1
    ordered = sorted(counts, key=lambda n: float("inf") if n == NOT_KNOWN else float(n.split()[0]))
    return {name: f"{counts[name][0]}/{counts[name][1]}" for name in ordered}


def _name_bin(ebr_db: str, kind: str) -> str:
    """Name an EBR: a whole number as it is (a protocol's), others by their range of 6 dB. That of
    the city is a distance in metres, named by its range of 100 m."""
    if not ebr_db:
        return NOT_KNOWN
    value = float(ebr_db)
    if kind == "city":
        low = int(value // 100) * 100
        return f"{low} to {low + 100} m"
    if value == int(value):
        return f"{value:g}"
    low = int(value // 6) * 6
    return f"{low} to {low + 6}"


def _overlaps(alarm: Alarm, span: Span) -> bool:
    return overlaps(alarm, span, NEAR_S)
