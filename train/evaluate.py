"""Scores a bundle on a folder of scenes, through the serving road: engine, then decision.

A set is a folder with audio files and a ``truth.csv`` (file, onset_s, offset_s, group,
ebr_db); files of ``rare/`` and ``film/`` are reported apart.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from streamdet.audio.file import FileSource
from streamdet.audio.resample import Converter
from streamdet.detect import decision
from streamdet.detect.decision import DecisionConfig, Frames
from streamdet.detect.engine import Engine, Stream
from streamdet.model.bundle import Bundle
from train import metrics
from train.data.table import read_rows
from train.failure import TrainError
from train.metrics import Alarm, Counts, Rule, Span

BLOCK_FRAMES = 128


class SetError(TrainError):
    """The folder is no set; the message says why."""


@dataclass(frozen=True)
class ScoredFile:
    """One file as the engine heard it, and what is true of it."""

    name: str
    frames: Frames
    truth: tuple[Span, ...]
    ebr_db: tuple[str, ...]


def hear(bundle: Bundle, folder: Path) -> list[ScoredFile]:
    """Run every file of a set through the engine; raises SetError where it is none."""
    truth = _truth(folder)
    paths = sorted(p for kind in ("rare", "film") for p in (folder / kind).glob("*") if p.is_file())
    if not paths:
        raise SetError(f"{folder}: neither rare/ nor film/ holds a file")
    engine = Engine(bundle, block_frames=BLOCK_FRAMES)
    heard = []
    for path in paths:
        name = f"{path.parent.name}/{path.name}"
        spans = tuple(span for span, _ in truth.get(name, []))
        ebrs = tuple(ebr for _, ebr in truth.get(name, []))
        heard.append(ScoredFile(name, frames_of(engine, path), spans, ebrs))
    return heard


def frames_of(engine: Engine, path: Path) -> Frames:
    """The frames of a whole file."""
    source = FileSource(path)
    converter = Converter(source.rate, source.channels, engine.grid.rate)
    stream = Stream(engine)
    frames: list[Frames] = []
    for block in source.blocks():
        frames += stream.feed(converter.feed(block.samples))
    frames += stream.feed(converter.finish()) + stream.finish()
    source.close()
    return Frames(*(np.concatenate(column) for column in zip(*frames, strict=True)))


def alarms(grid: decision.Grid, config: DecisionConfig, frames: Frames) -> list[Alarm]:
    """A file's final events as (onset_s, offset_s, score)."""
    state, found = decision.step(config, grid, decision.init(config, grid), frames)
    found += decision.finish(config, grid, state)[1]
    return [
        (d.onset / grid.rate, d.offset / grid.rate, d.score) for d in found if d.offset is not None
    ]


def at_threshold(
    grid: decision.Grid,
    files: Sequence[ScoredFile],
    config: DecisionConfig,
    rule: Rule = metrics.match,
) -> Counts:
    """Counts of the decision's events by a rule: the benchmark's, or `metrics.onset_match`."""
    heard = ((alarms(grid, config, file.frames), file.truth) for file in files)
    return metrics.count(config.threshold, heard, rule)


def onset_errors(
    grid: decision.Grid, files: Sequence[ScoredFile], config: DecisionConfig
) -> list[float]:
    """Seconds from each found event's true onset to its nearest alarm's."""
    errors: list[float] = []
    for file in files:
        found = alarms(grid, config, file.frames)
        for hit, (onset, _) in zip(metrics.match(found, file.truth)[0], file.truth, strict=True):
            if hit:
                errors.append(min(abs(alarm[0] - onset) for alarm in found))
    return errors


def report(bundle: Bundle, files: Sequence[ScoredFile]) -> dict[str, Any]:
    """Every figure of a set, by kind of scene; a plain dict for JSON."""
    engine = Engine(bundle)
    grid = engine.grid
    out: dict[str, Any] = {"bundle": f"{bundle.name}/{bundle.version}", "sha256": bundle.sha256}
    for kind, some in _by_kind(files).items():
        hours = sum(len(f.frames.level) for f in some) * grid.frame / grid.rate / 3600
        scored = [(f.frames.scores[:, 0], f.truth) for f in some]
        thresholds, hop_s = metrics.thresholds_for(scored, 120), grid.frame / grid.rate
        rows = metrics.sweep(scored, hop_s, thresholds)
        best = min(rows, key=lambda r: r.error_rate)
        onsets = metrics.sweep(scored, hop_s, thresholds, metrics.onset_match)
        out[kind] = {
            "files": len(some),
            "hours": round(hours, 3),
            "events": best.hits + best.misses,
            "best_error_rate": round(best.error_rate, 3),
            "best_f1": round(max(r.f1 for r in rows), 3),
            "best_onset_f1": round(max(r.f1 for r in onsets), 3) if kind == "rare" else None,
            **{
                f"recall_at_{n}_fa_h": round(metrics.recall_at(rows, hours, n), 3)
                for n in (1, 6, 20)
            },
            "points": {
                name: _point(grid, some, hours, point.threshold)
                for name, point in bundle.operating_points.items()
            },
        }
    return out


def as_markdown(figures: dict[str, Any]) -> str:
    """The figures as the README's table: a row for each kind of scene and operating point."""
    lines = [
        "| scenes | point | threshold | recall | false alarms an hour | event F1 | onset F1 |",
        "|---|---|---|---|---|---|---|",
    ]
    for kind in ("rare", "film"):
        for name, row in figures.get(kind, {}).get("points", {}).items():
            onset_f1 = f"{row['onset_f1']:.3f}" if "onset_f1" in row else ""
            lines.append(
                f"| {kind}: {figures[kind]['events']} events, {figures[kind]['hours']:.2f} h "
                f"| {name} | {row['threshold']:.3f} | {row['recall']:.3f} "
                f"| {row['false_alarms_h']:.1f} | {row['f1']:.3f} | {onset_f1} |"
            )
    lines.append("")
    lines.extend(_best_line(k, figures[k]) for k in ("rare", "film") if k in figures)
    return "\n".join(lines)


def _best_line(kind: str, row: dict[str, Any]) -> str:
    """What the scores allow, whatever the threshold: as the benchmark's ruler counts."""
    recalls = " / ".join(f"{row[f'recall_at_{n}_fa_h']:.3f}" for n in (1, 6, 20))
    onset = f", onset F1 {row['best_onset_f1']:.3f}" if row["best_onset_f1"] is not None else ""
    return (
        f"{kind}, each figure at its own best threshold: event ER {row['best_error_rate']:.3f}, "
        f"event F1 {row['best_f1']:.3f}{onset}, recall at 1 / 6 / 20 false alarms an hour {recalls}"
    )


def candidate_thresholds() -> list[float]:
    """60 thresholds, evenly apart in logit from 0.02 to 0.998."""
    logits = np.linspace(np.log(0.02 / 0.98), np.log(0.998 / 0.002), 60)
    return [float(t) for t in 1.0 / (1.0 + np.exp(-logits))]


def _point(
    grid: decision.Grid, files: Sequence[ScoredFile], hours: float, threshold: float
) -> dict[str, Any]:
    config = DecisionConfig(threshold)
    counts, errors = at_threshold(grid, files, config), onset_errors(grid, files, config)
    row: dict[str, Any] = {
        "threshold": round(threshold, 4),
        "recall": round(counts.recall, 3),
        "false_alarms_h": round(counts.false_alarms / hours, 2),
        "error_rate": round(counts.error_rate, 3),
        "f1": round(counts.f1, 3),
    }
    if files[0].name.startswith("rare/"):
        row["onset_f1"] = round(at_threshold(grid, files, config, metrics.onset_match).f1, 3)
        row["recall_by_ebr"] = _by_ebr(grid, files, config)
    if errors:
        row["onset_error_s"] = {
            "median": round(float(np.median(errors)), 3),
            "p90": round(float(np.quantile(errors, 0.9)), 3),
        }
    return row


def _by_ebr(
    grid: decision.Grid, files: Sequence[ScoredFile], config: DecisionConfig
) -> dict[str, str]:
    counts: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for file in files:
        found = alarms(grid, config, file.frames)
        for hit, ebr in zip(metrics.match(found, file.truth)[0], file.ebr_db, strict=True):
            counts[ebr][0] += hit
            counts[ebr][1] += 1
    ordered = sorted(counts.items(), key=lambda item: float(item[0]))
    return {ebr: f"{a}/{b}" for ebr, (a, b) in ordered}


def write_frames(path: Path, grid: decision.Grid, files: Iterable[ScoredFile]) -> None:
    """The frame scores as the benchmark's ruler reads them, a JSON line a file."""
    hop = grid.frame / grid.rate
    with path.open("w") as sink:
        for file in files:
            scores = file.frames.scores[:, 0]
            frames = [[round(i * hop, 3), round(float(p), 5)] for i, p in enumerate(scores)]
            sink.write(json.dumps({"file": file.name, "win": hop, "frames": frames}) + "\n")


def _by_kind(files: Sequence[ScoredFile]) -> dict[str, list[ScoredFile]]:
    kinds: dict[str, list[ScoredFile]] = defaultdict(list)
    for file in files:
        kinds[file.name.split("/")[0]].append(file)
    return dict(kinds)


def _truth(folder: Path) -> dict[str, list[tuple[Span, str]]]:
    path = folder / "truth.csv"
    if not path.is_file():
        raise SetError(f"{path}: no such file; is {folder} a set of scenes?")
    truth: dict[str, list[tuple[Span, str]]] = {}
    for row in read_rows(path):
        span = (float(row["onset_s"]), float(row["offset_s"]))
        truth.setdefault(row["file"], []).append((span, row["ebr_db"]))
    return truth
