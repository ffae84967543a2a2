"""Write an evaluation report as a Markdown page with plots, misses and false alarms."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from train.errors import TrainError
from train.evaluation import plots
from train.evaluation.plots import MisjudgedMoment
from train.evaluation.report import EvaluationReport, format_markdown
from train.evaluation.scored_sets import KINDS

WORST = 10


def write_page(report: EvaluationReport, folder: Path) -> Path:
    """Write ``page.md``, its plots and its pictures into a folder; return the page's path.

    Raises TrainError if the folder can't be written.
    """
    grid, files = report.grid, report.files
    point = report.bundle.operating_points[report.bundle.default_point].threshold
    misses = plots.find_worst_misses(grid, files, point, WORST)
    alarms = plots.find_worst_alarms(grid, files, point, WORST)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        plots.plot_det_curve(grid, files, report.curves, folder / "det.png")
        plots.plot_recall_by_ebr(grid, files, point, folder / "ebr.png")
        plots.plot_reliability(report.metrics, folder / "reliability.png")
        plots.plot_timelines(grid, misses, point, folder / "misses.jpg")
        plots.plot_timelines(grid, alarms, point, folder / "alarms.jpg")
        page = folder / "page.md"
        page.write_text("\n".join(_make_lines(report, misses, alarms)) + "\n")
    except OSError as error:
        raise TrainError(f"{folder}: can't be written: {error.strerror}") from error
    return page


def _make_lines(
    report: EvaluationReport, misses: Sequence[MisjudgedMoment], alarms: Sequence[MisjudgedMoment]
) -> list[str]:
    metrics, point = report.metrics, report.bundle.default_point
    lines = [f"# {metrics['bundle']}", "", format_markdown(metrics), ""]
    lines += ["![misses against false alarms](det.png)", "", "![recall by EBR](ebr.png)"]
    lines += ["", "![reliability](reliability.png)"]
    lines += _make_reliability_table({k: metrics[k] for k in KINDS if k in metrics})
    for kind in KINDS:
        points = metrics.get(kind, {}).get("points", {})
        row = points.get(point, {})
        lines += _make_table(
            f"False alarms per hour by cause: {kind}, {point}",
            row.get("false_alarms_h_by_label", {}),
        )
        lines += _make_found_table(kind, points)
        if "rounds" in row:
            lines += _make_table("Rounds counted in found bursts", row["rounds"])
    for name, row in metrics.get("clips", {}).items():
        lines += _make_table(
            f"Clips, {name}: shots found at {point}", row.get("found_by_source", {})
        )
        lines += _make_table(
            f"Clips, {name}: labels of the 1 % of other clips with the highest scores",
            row.get("false_at_1_percent", {}),
        )
    lines += _make_robustness_table(metrics.get("robustness", {}))
    lines += _make_worst_section("The ten worst misses", misses, "misses.jpg")
    lines += _make_worst_section("The ten worst false alarms", alarms, "alarms.jpg")
    return lines


def _make_table(title: str, rows: dict[str, Any]) -> list[str]:
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


def _make_found_table(kind: str, points: dict[str, Any]) -> list[str]:
    """Events found by EBR, in the city by distance, at each operating point."""
    if not points:
        return []
    by = "distance" if kind == "city" else "EBR in dB"
    found = [row["recall_by_ebr"] for row in points.values()]
    return [
        "",
        f"## Events found by {by}: {kind}",
        "",
        f"| | {' | '.join(points)} |",
        "|---" * (len(points) + 1) + "|",
        *(f"| {name} | {' | '.join(row[name] for row in found)} |" for name in found[0]),
    ]


def _make_reliability_table(kinds: dict[str, Any]) -> list[str]:
    lines = [
        "",
        "## Reliability: peak scores of seconds, and the share in which an event begins",
        "",
        "| scenes | mean score | share | seconds |",
        "|---|---|---|---|",
    ]
    for kind, row in kinds.items():
        lines += [
            f"| {kind} | {b.score:.3f} | {b.truth:.3f} | {b.seconds} |" for b in row["reliability"]
        ]
    return lines


def _make_robustness_table(rows: dict[str, Any]) -> list[str]:
    if not rows:
        return []
    kinds = list(next(iter(rows.values())))
    head = " | ".join(f"{k}: ER | F1 | recall at 6 FA/h" for k in kinds)
    lines = [
        "",
        "## Robustness: the same scenes after degradations",
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


def _make_worst_section(title: str, moments: Sequence[MisjudgedMoment], picture: str) -> list[str]:
    if not moments:
        return ["", f"## {title}", "", "None."]
    rows = [f"| {m.file.name} | {m.at_s:.1f} | {m.score:.3f} | {m.description} |" for m in moments]
    head = ["", f"## {title}", "", "| file | at, s | score | description |", "|---|---|---|---|"]
    return [*head, *rows, "", f"![{title.lower()}]({picture})"]
