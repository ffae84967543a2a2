"""A folder with a Markdown page and plots: what a bundle does on a set, and what fools it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from train.errors import TrainError
from train.evaluation import pictures
from train.evaluation.pictures import Moment
from train.evaluation.report import Report, as_markdown

WORST = 10


def write(report: Report, folder: Path) -> Path:
    """Write ``page.md``, ``det.png``, ``ebr.png``, ``misses.jpg`` and ``alarms.jpg``."""
    grid, files = report.grid, report.files
    point = report.bundle.operating_points[report.bundle.default_point].threshold
    misses = pictures.worst_misses(grid, files, point, WORST)
    alarms = pictures.worst_alarms(grid, files, point, WORST)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        pictures.trade_off(grid, files, report.curves, folder / "det.png")
        pictures.recall_against_ebr(grid, files, point, folder / "ebr.png")
        pictures.timelines(grid, misses, point, folder / "misses.jpg")
        pictures.timelines(grid, alarms, point, folder / "alarms.jpg")
        page = folder / "page.md"
        page.write_text("\n".join(_lines(report, misses, alarms)) + "\n")
    except OSError as error:
        raise TrainError(f"{folder}: can't be written: {error.strerror}") from error
    return page


def _lines(report: Report, misses: Sequence[Moment], alarms: Sequence[Moment]) -> list[str]:
    figures, point = report.figures, report.bundle.default_point
    lines = [f"# {figures['bundle']}", "", as_markdown(figures), ""]
    lines += ["![misses against false alarms](det.png)", "", "![recall by EBR](ebr.png)"]
    for kind in ("rare", "film", "bursts"):
        row = figures.get(kind, {}).get("points", {}).get(point, {})
        lines += _table(
            f"False alarms an hour by what is heard: {kind}, {point}",
            row.get("false_alarms_h_by_label", {}),
        )
        lines += _table(f"Found by EBR in dB: {kind}, {point}", row.get("recall_by_ebr", {}))
        if "rounds" in row:
            lines += _table("Rounds counted in found bursts", row["rounds"])
    for name, row in figures.get("clips", {}).items():
        lines += _table(f"Clips, {name}: shots found at {point}", row.get("found_by_source", {}))
        lines += _table(
            f"Clips, {name}: the others that rank with the highest 1 %",
            row.get("false_at_1_percent", {}),
        )
    lines += _robustness(figures.get("robustness", {}))
    lines += _worst("The ten worst misses", misses, "misses.jpg")
    lines += _worst("The ten worst false alarms", alarms, "alarms.jpg")
    return lines


def _table(title: str, rows: dict[str, Any]) -> list[str]:
    if not rows:
        return []
    return [
        "",
        f"## {title}",
        "",
        "| | |",
        "|---|---|",
        *(f"| {k} | {v} |" for k, v in rows.items()),
    ]


def _robustness(rows: dict[str, Any]) -> list[str]:
    if not rows:
        return []
    kinds = list(next(iter(rows.values())))
    head = " | ".join(f"{k}: ER | F1 | recall at 6 FA/h" for k in kinds)
    lines = [
        "",
        "## The same scenes, changed",
        "",
        f"| | {head} |",
        "|---" * (3 * len(kinds) + 1) + "|",
    ]
    for name, row in rows.items():
        cells = [
            f"{row[k]['best_error_rate']:.3f} | {row[k]['best_f1']:.3f} "
            f"| {row[k]['recall_at_6_fa_h']:.3f}"
            for k in kinds
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def _worst(title: str, moments: Sequence[Moment], picture: str) -> list[str]:
    if not moments:
        return ["", f"## {title}", "", "None."]
    rows = [f"| {m.file.name} | {m.at_s:.1f} | {m.score:.3f} | {m.what} |" for m in moments]
    head = ["", f"## {title}", "", "| file | at, s | score | what |", "|---|---|---|---|"]
    return [*head, *rows, "", f"![{title.lower()}]({picture})"]
