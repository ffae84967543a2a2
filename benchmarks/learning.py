"""`python -m benchmarks.learning BASE`: what thirty reviewed false alarms teach.

Recordings of one class of hard negatives are heard, the first false events of them are reviewed at
the command line, exported and adapted to, and the bundle before and after is measured: on the other
recordings of the class, and on the benchmark's scenes. docs/training.md has the figures.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from benchmarks.measure import ROOT
from streamdet.model import bundle as bundles
from streamdet.model.bundle import Bundle
from streamdet.store.reader import EventFilter, StoreReader
from train.data.checks import read_manifest
from train.data.corpus import read_exclusions
from train.evaluation import scene_metrics, scored_sets

RATE, GAP_S, FLOOR_DB = 16_000, 4.0, -70.0
SHARED = ROOT.parent / "shared"


def scene(paths: list[Path], seed: int) -> np.ndarray:
    """The clips of a recording, one after another with faint noise before and between them."""
    noise = np.random.default_rng(seed)
    floor = 10.0 ** (FLOOR_DB / 20.0)
    parts = []
    for path in paths:
        parts += [
            np.zeros(round(GAP_S * RATE), np.float32),
            soundfile.read(path, dtype="float32")[0],
        ]
    whole = np.concatenate([*parts, np.zeros(round(GAP_S * RATE), np.float32)])
    return whole + (floor * noise.standard_normal(len(whole))).astype(np.float32)


def streamdet(*args: str | Path) -> str:
    """The command line, in a process of its own."""
    command = [sys.executable, "-m", "streamdet", *map(str, args)]
    return subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT).stdout


def reviewed(base: Path, groups: dict[str, list[Path]], work: Path, wanted: int, cause: str) -> int:
    """Hear recordings until so many false events were found, and review those; returns how many
    recordings that took."""
    store = work / "events.db"
    seen = 0
    for seen, (_, paths) in enumerate(groups.items(), 1):
        heard = work / "scenes" / f"{seen:03d}.flac"
        heard.parent.mkdir(exist_ok=True)
        soundfile.write(heard, scene(paths, seen), RATE, subtype="PCM_16")
        streamdet("file", heard, "--model", base, "--store", store, "--clips",
                  work / "events-clips")  # fmt: skip
        if StoreReader(store).count(EventFilter()) >= wanted:
            break
    for stored in list(StoreReader(store).events(EventFilter()))[:wanted]:
        streamdet("review", "--store", store, "--event", stored.event.id, "--verdict", "false",
                  "--cause", cause, "--reviewer", "benchmark")  # fmt: skip
    return seen


def measured(
    name: str, bundle: Bundle, others: list[Path], unheard: np.ndarray, threshold: float
) -> dict[str, Any]:
    """Alarms on single clips, ``unheard`` being those of no training at all, and recall and false
    alarms an hour on the benchmark's scenes."""
    alarms = np.array(scored_sets.compute_peak_scores(bundle, others, 0.4)) >= threshold
    files = scored_sets.score_scenes(bundle, SHARED / "eval")
    grid = scene_metrics.make_frame_grid(bundle)
    row: dict[str, Any] = {"bundle": name, "threshold": round(threshold, 3)}
    row["alarms on other recordings"] = f"{int(alarms.sum())} / {len(alarms)}"
    row["of them in no training"] = f"{int(alarms[unheard].sum())} / {int(unheard.sum())}"
    for kind in ("rare", "film"):
        point = scene_metrics.compute_point_metrics(
            grid, [f for f in files if f.kind == kind], threshold
        )
        row[f"{kind} recall"] = round(point["recall"], 3)
        row[f"{kind} FA/h"] = round(point["false_alarms_h"], 1)
    return row


def main() -> None:
    """Do all of it, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.learning", description=__doc__)
    parser.add_argument("base", type=Path, help="the bundle to begin from")
    parser.add_argument("--label", default="fireworks")
    parser.add_argument("--cause", default="fireworks")
    parser.add_argument("--reviews", type=int, default=30)
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--share", type=float, default=0.3)
    parser.add_argument("--work", type=Path, required=True, help="a new folder")
    parser.add_argument(
        "--cache", type=Path, required=True, help="prepared clips without the class"
    )
    parser.add_argument("--val", type=Path, required=True, help="val scenes without it")
    told = parser.parse_args()
    told.work.mkdir(parents=True)
    data = SHARED / "data"
    left_out = read_exclusions(data)
    groups: dict[str, list[Path]] = defaultdict(list)
    rows = [r for r in read_manifest(data) if r["path"] not in left_out]
    for row in rows:
        if row["label"] == told.label and row["split"] == "train":
            groups[row["origin_group"]].append(data / row["path"])
    order = sorted(groups)
    random.Random(1).shuffle(order)
    count = reviewed(told.base, {g: groups[g] for g in order}, told.work, told.reviews, told.cause)
    played = set(order[:count])
    left = [r for r in rows if r["label"] == told.label and r["origin_group"] not in played]
    others = [data / r["path"] for r in left]
    unheard = np.array([r["split"] != "train" for r in left])
    dataset, new = told.work / "reviews", told.work / "adapted"
    sys.stderr.write(streamdet("events", "export", "--store", told.work / "events.db",
                               "--dataset", dataset, "--held-out", "0.2"))  # fmt: skip
    adapt = [sys.executable, "-m", "train", "adapt", told.base, new, "--own", dataset,
             "--share", told.share, "--steps", told.steps, "--cache", told.cache, "--val", told.val,
             "--run", told.work / "run"]  # fmt: skip
    done = subprocess.run(list(map(str, adapt)), check=True, capture_output=True, text=True)
    sys.stderr.write(done.stdout)
    before, after = bundles.load(told.base), bundles.load(new)
    old = before.operating_points[before.default_point].threshold
    chosen = after.operating_points[after.default_point].threshold
    table = [
        measured("before", before, others, unheard, old),
        measured("after", after, others, unheard, chosen),
        measured("after, the threshold of before", after, others, unheard, old),
    ]
    found = {"recordings": count, "reviews": told.reviews, "others": len(others), "table": table}
    (told.work / "found.json").write_text(json.dumps(found, indent=1) + "\n")
    sys.stdout.write(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
