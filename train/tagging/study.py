"""The loss-level study: the weights of one run at falling losses, each scored on other clips.

Does a network that is trained on to a loss of 0.01 still get better, or has it long been best?
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from train.detector import journal
from train.errors import TrainError
from train.tagging.config import TaggerConfig
from train.tagging.scoring import evaluate, load
from train.tagging.teachers import BEST

FIGURES = ("hit_at_1", "perr", "map", "gap", "avg_loss", "macro_map", "ap_any_gunshot")


def study(config: TaggerConfig, run: Path, records: Path, class_list: Path) -> list[dict[str, Any]]:
    """A row for each loss that the run in the folder has passed, in their order, and one for the
    optimum on its held-out clips; each scored on the TFRecords in ``records``. Raises TrainError
    where the run has kept nothing."""
    if not (run / BEST).is_dir():
        raise TrainError(f"{run}: no run that has validated; `python -m train fit` makes one")
    curve = [row for row in journal.read(run) if "loss" in row]
    places = {f"{level:g}": run / f"at-{level:g}" for level in config.keep_at}
    rows = []
    for name, place in {**places, "validation optimum": run / BEST}.items():
        if not place.is_dir():
            continue
        card = load(place)[2]
        near = [row["loss"] for row in curve if row["step"] <= card["step"]]
        loss = card.get("loss", near[-1] if near else None)
        figures = evaluate([place], records, class_list)
        rows.append({"loss": name, "step": card["step"], "train_loss": loss,
                     **{k: figures[k] for k in FIGURES}})  # fmt: skip
    return sorted(rows, key=lambda row: row["step"])


def write(rows: Sequence[dict[str, Any]], name: str, to: Path) -> str:
    """Write ``study.json`` and ``study.png`` to a folder; the table as Markdown."""
    to.mkdir(parents=True, exist_ok=True)
    (to / "study.json").write_text(json.dumps(list(rows), indent=2) + "\n")
    _plot(rows, name, to / "study.png")
    head = ["loss", "step", "train_loss", *FIGURES]
    lines = ["| " + " | ".join(h.replace("_", " ") for h in head) + " |", "|---" * len(head) + "|"]
    lines += ["| " + " | ".join(_said(row[h]) for h in head) + " |" for row in rows]
    return "\n".join(lines)


def _said(value: Any) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def _plot(rows: Sequence[dict[str, Any]], name: str, to: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4.5), layout="constrained")
    left, right = figure.subplots(1, 2)
    steps = [row["step"] for row in rows]
    for figure_name in ("hit_at_1", "perr", "gap", "map", "ap_any_gunshot"):
        label = figure_name.replace("_", " ")
        left.plot(steps, [row[figure_name] for row in rows], marker="o", label=label)
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
