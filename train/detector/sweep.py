"""Sweeps: train and score every trial of a set on val scenes; resumable at any time."""

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
from train.detector import export, loop
from train.detector.config import DetectorConfig
from train.errors import TrainError
from train.evaluation import report

log = Console(stderr=True, highlight=False, soft_wrap=True)


class UnknownSweepError(TrainError):
    """No such sweep. The message lists those that exist."""


def list_sweeps() -> list[str]:
    """The names of all sweeps, sorted."""
    return sorted(m.name for m in pkgutil.iter_modules(sweeps.__path__))


def load_sweep(name: str) -> dict[str, DetectorConfig]:
    """The trials of a sweep, by name; raises UnknownSweepError if it does not exist."""
    names = list_sweeps()
    if name not in names:
        raise UnknownSweepError(f"no sweep {name!r}; there are: {', '.join(names)}")
    return importlib.import_module(f"train.configs.sweeps.{name}").TRIALS


def run_sweep(
    trials: dict[str, DetectorConfig],
    cache: Path,
    folder: Path,
    val: Path,
    data: Path,
    workers: int = 1,
    scenes: Path | None = None,
) -> Iterator[dict[str, Any]]:
    """Yield a row for each trial, in order. Trials in ``folder/results.jsonl`` are not run again;
    the others are trained, or resumed, and scored on val through the serving engine. ``scenes`` is
    the folder of the sets of stored scenes."""
    results = folder / "results.jsonl"
    folder.mkdir(parents=True, exist_ok=True)
    done = {}
    if results.is_file():
        done = {r["trial"]: r for r in map(json.loads, results.read_text().splitlines())}
    for trial, config in trials.items():
        if trial not in done:
            log.print(f"[bold]{trial}[/bold]")
            row = {
                "trial": trial,
                **_run_trial(trial, config, cache, folder, val, data, workers, scenes),
            }
            with results.open("a") as sink:
                sink.write(json.dumps(row) + "\n")
            done[trial] = row
        yield done[trial]


def name_trial_folder(trial: str) -> str:
    """The name of the folder that the run of a trial is in, in the folder of the sweep."""
    return re.sub(r"[^a-z0-9]+", "-", trial.lower()).strip("-")


def _run_trial(
    trial: str,
    config: DetectorConfig,
    cache: Path,
    folder: Path,
    val: Path,
    data: Path,
    workers: int,
    scenes: Path | None,
) -> dict[str, Any]:
    run = folder / name_trial_folder(trial)
    loop.fit(config, cache, run, workers, scenes=scenes)
    bundle = export.export_uncalibrated(config, run, run / "bundle")
    metrics = report.evaluate_bundle(bundle, val, data, "val").metrics
    row: dict[str, Any] = {}
    for kind in ("rare", "film"):
        names = ("best_error_rate", "best_f1", "recall_at_6_fa_h")
        row |= {f"{kind}_{name}": metrics[kind][name] for name in names}
    close = metrics.get("clips", {}).get("close", {})
    return row | {f"clips_{name}": close[name] for name in ("ap", "auc") if name in close}
