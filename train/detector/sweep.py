"""Small sweeps: every trial of a set trained and scored on val, resumable at any moment."""

from __future__ import annotations

import importlib
import json
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Console

from train.configs import sweeps
from train.data.corpus import Corpus
from train.detector import export, loop
from train.detector.config import TrainConfig
from train.errors import TrainError
from train.evaluation import report

log = Console(stderr=True, highlight=False, soft_wrap=True)


class SweepError(TrainError):
    """There is no such sweep; the message lists those there are."""


def names() -> list[str]:
    """The sweeps there are."""
    return sorted(m.name for m in pkgutil.iter_modules(sweeps.__path__))


def load(name: str) -> dict[str, TrainConfig]:
    """The trials of the sweep called ``name``; raises SweepError where there is none."""
    if name not in names():
        raise SweepError(f"no sweep {name!r}; there are: {', '.join(names())}")
    return importlib.import_module(f"train.configs.sweeps.{name}").TRIALS


def run(
    trials: dict[str, TrainConfig],
    cache: Path,
    folder: Path,
    val: Path,
    data: Path,
    workers: int = 1,
) -> Iterator[dict[str, Any]]:
    """The row of every trial in order, those that ``folder/results.jsonl`` has as they are, the
    others trained (or gone on with) and scored through the serving road on val."""
    results = folder / "results.jsonl"
    folder.mkdir(parents=True, exist_ok=True)
    done = {}
    if results.is_file():
        done = {r["trial"]: r for r in map(json.loads, results.read_text().splitlines())}
    for trial, config in trials.items():
        if trial not in done:
            log.print(f"[bold]{trial}[/bold]")
            row = {"trial": trial, **_score(trial, config, cache, folder, val, data, workers)}
            with results.open("a") as sink:
                sink.write(json.dumps(row) + "\n")
            done[trial] = row
        yield done[trial]


def _score(
    trial: str,
    config: TrainConfig,
    cache: Path,
    folder: Path,
    val: Path,
    data: Path,
    workers: int,
) -> dict[str, Any]:
    place = folder / re.sub(r"[^a-z0-9]+", "-", trial.lower()).strip("-")
    loop.fit(config, cache, place, workers)
    bundle = export.uncalibrated(config, Corpus(cache), place, place / "bundle")
    figures = report.evaluate_bundle(bundle, val, data, "val").metrics
    row: dict[str, Any] = {}
    for kind in ("rare", "film"):
        names = ("best_error_rate", "best_f1", "recall_at_6_fa_h")
        row |= {f"{kind}_{name}": figures[kind][name] for name in names}
    close = figures.get("clips", {}).get("close", {})
    return row | {f"clips_{name}": close[name] for name in ("ap", "auc") if name in close}


def as_markdown(rows: list[dict[str, Any]]) -> str:
    """The rows as a table, in their order."""
    columns = [c for c in rows[0] if c != "trial"]
    lines = ["| | " + " | ".join(c.replace("_", " ") for c in columns) + " |"]
    lines.append("|---" * (len(columns) + 1) + "|")
    lines += [
        f"| {r['trial']} | " + " | ".join(f"{r[c]:.3f}" for c in columns) + " |" for r in rows
    ]
    return "\n".join(lines)
