"""The loss-level study: the weights of one run at falling losses, scored on other clips.

Answers whether a network still improves when it is trained down to a loss of 0.01, or whether it
was at its best long before.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from train.detector import journal
from train.errors import TrainError
from train.markdown import format_markdown_table
from train.tagging.config import TaggerConfig
from train.tagging.scoring import evaluate_taggers, load_tagger
from train.tagging.teachers import BEST

METRICS = ("hit_at_1", "perr", "map", "gap", "avg_loss", "macro_map", "ap_any_gunshot")


def score_levels(
    config: TaggerConfig, run: Path, records: Path, class_list: Path
) -> list[dict[str, Any]]:
    """A row for each loss at which the run saved weights, and one for the best validation, by
    step. Each is scored on the TFRecords in ``records``. Raises TrainError if the run has not
    validated yet."""
    if not (run / BEST).is_dir():
        raise TrainError(f"{run}: no finished validation. Run `python -m train fit` first.")
    curve = [row for row in journal.read_journal(run) if "loss" in row]
    folders = {f"{level:g}": run / f"at-{level:g}" for level in config.keep_at}
    rows = []
    for name, folder in {**folders, "validation optimum": run / BEST}.items():
        if not folder.is_dir():
            continue
        card = load_tagger(folder)[2]
        earlier = [row["loss"] for row in curve if row["step"] <= card["step"]]
        loss = card.get("loss", earlier[-1] if earlier else None)
        metrics = evaluate_taggers([folder], records, class_list)
        row = {"loss": name, "step": card["step"], "train_loss": loss}
        rows.append(row | {k: metrics[k] for k in METRICS})
    return sorted(rows, key=lambda row: row["step"])


def write_study(rows: Sequence[dict[str, Any]], name: str, to: Path) -> str:
    """Write ``study.json`` and ``study.png`` to a folder; returns the table as Markdown."""
    to.mkdir(parents=True, exist_ok=True)
    (to / "study.json").write_text(json.dumps(list(rows), indent=2) + "\n")
    _plot_study(rows, name, to / "study.png")
    return format_markdown_table(rows, decimals=3)


def _plot_study(rows: Sequence[dict[str, Any]], name: str, to: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4.5), layout="constrained")
    left, right = figure.subplots(1, 2)
    steps = [row["step"] for row in rows]
    for metric in ("hit_at_1", "perr", "gap", "map", "ap_any_gunshot"):
        label = metric.replace("_", " ")
        left.plot(steps, [row[metric] for row in rows], marker="o", label=label)
    right.plot(steps, [row["avg_loss"] for row in rows], marker="o", label="on the test clips")
    right.plot(steps, [row["train_loss"] for row in rows], marker="o", label="in training")
    right.set_yscale("log")
    for axis, title in ((left, "higher is better"), (right, "loss, summed over the classes")):
        axis.set_title(title)
        axis.set_xlabel("step")
        axis.grid(visible=True, alpha=0.3)
        axis.legend(fontsize=8, ncols=3, loc="upper center", bbox_to_anchor=(0.5, -0.2))
        top = axis.secondary_xaxis("top")
        top.set_xticks(steps, [row["loss"].split()[-1] for row in rows], rotation=90, fontsize=7)
        for step in steps:
            axis.axvline(step, color="grey", linewidth=0.5, alpha=0.4)
    figure.suptitle(f"{name}: the weights at falling losses")
    figure.savefig(to, dpi=110, bbox_inches="tight")
