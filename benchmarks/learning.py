"""`python -m benchmarks.learning BASE`: the effect of adapting to thirty reviewed false alarms.

It analyses recordings of one class of hard negatives, reviews the first false events with the
command line, exports them, and adapts the bundle to them. Then it evaluates the bundle before and
after on the other recordings of the class and on the benchmark's scenes. docs/training.md has the
results.
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
from streamdet.constants import RATE
from streamdet.model import bundle as bundles
from streamdet.model.bundle import Bundle
from streamdet.store.reader import EventFilter, StoreReader
from train.data.checks import read_manifest
from train.data.corpus import read_exclusions
from train.evaluation import scene_metrics, scored_sets

GAP_S, FLOOR_DB = 4.0, -70.0
SHARED = ROOT.parent / "shared"


def make_scene(paths: list[Path], seed: int) -> np.ndarray:
    """Join the clips of a recording, with faint noise before, between and after them."""
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


def run_streamdet(*args: str | Path) -> str:
    """Run the streamdet command line; return its stdout."""
    command = [sys.executable, "-m", "streamdet", *map(str, args)]
    return subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT).stdout


def review_false_alarms(
    base: Path, groups: dict[str, list[Path]], work: Path, reviews: int, cause: str
) -> int:
    """Analyse recordings until there are ``reviews`` false events, and review those.

    Returns the number of recordings analysed.
    """
    store = work / "events.db"
    count = 0
    for count, (_, paths) in enumerate(groups.items(), 1):
        scene = work / "scenes" / f"{count:03d}.flac"
        scene.parent.mkdir(exist_ok=True)
        soundfile.write(scene, make_scene(paths, count), RATE, subtype="PCM_16")
        run_streamdet("file", scene, "--model", base, "--store", store, "--clips",
                  work / "events-clips")  # fmt: skip
        if StoreReader(store).count(EventFilter()) >= reviews:
            break
    for stored in list(StoreReader(store).events(EventFilter()))[:reviews]:
        run_streamdet("review", "--store", store, "--event", stored.event.id, "--verdict", "false",
                  "--cause", cause, "--reviewer", "benchmark")  # fmt: skip
    return count


def measure_bundle(
    name: str, bundle: Bundle, others: list[Path], held_out: np.ndarray, threshold: float
) -> dict[str, Any]:
    """Count alarms on single clips; compute recall and false alarms per hour on the benchmark.

    ``held_out``, (clips,) bool, marks the clips that were never used in training.
    """
    scores = scored_sets.compute_peak_scores(bundle, others, scored_sets.CLIP_LEAD_S)
    alarms = np.array(scores) >= threshold
    files = scored_sets.score_scenes(bundle, SHARED / "eval")
    grid = scene_metrics.make_frame_grid(bundle)
    row: dict[str, Any] = {"bundle": name, "threshold": round(threshold, 3)}
    row["alarms on other recordings"] = f"{int(alarms.sum())} / {len(alarms)}"
    row["of them held out"] = f"{int(alarms[held_out].sum())} / {int(held_out.sum())}"
    for kind in ("rare", "film"):
        point = scene_metrics.compute_point_metrics(
            grid, [f for f in files if f.kind == kind], threshold
        )
        row[f"{kind} recall"] = round(point["recall"], 3)
        row[f"{kind} FA/h"] = round(point["false_alarms_h"], 1)
    return row


def main() -> None:
    """Review, adapt and evaluate; print the results as JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.learning", description=__doc__)
    parser.add_argument("base", type=Path, help="the bundle to adapt")
    parser.add_argument("--label", default="fireworks")
    parser.add_argument("--cause", default="fireworks")
    parser.add_argument("--reviews", type=int, default=30)
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--share", type=float, default=0.3)
    parser.add_argument("--work", type=Path, required=True, help="a new folder")
    parser.add_argument(
        "--cache", type=Path, required=True, help="prepared clips without the class"
    )
    parser.add_argument("--val", type=Path, required=True, help="val scenes without the class")
    options = parser.parse_args()
    options.work.mkdir(parents=True)
    data = SHARED / "data"
    excluded = read_exclusions(data)
    groups: dict[str, list[Path]] = defaultdict(list)
    rows = [r for r in read_manifest(data) if r["path"] not in excluded]
    for row in rows:
        if row["label"] == options.label and row["split"] == "train":
            groups[row["origin_group"]].append(data / row["path"])
    order = sorted(groups)
    random.Random(1).shuffle(order)
    count = review_false_alarms(
        options.base, {g: groups[g] for g in order}, options.work, options.reviews, options.cause
    )
    analysed = set(order[:count])
    remaining = [
        r for r in rows if r["label"] == options.label and r["origin_group"] not in analysed
    ]
    others = [data / r["path"] for r in remaining]
    held_out = np.array([r["split"] != "train" for r in remaining])
    dataset, new = options.work / "reviews", options.work / "adapted"
    sys.stderr.write(run_streamdet("events", "export", "--store", options.work / "events.db",
                               "--dataset", dataset, "--held-out", "0.2"))  # fmt: skip
    adapt = [sys.executable, "-m", "train", "adapt", options.base, new, "--own", dataset,
             "--share", options.share, "--steps", options.steps, "--cache", options.cache,
             "--val", options.val, "--run", options.work / "run"]  # fmt: skip
    done = subprocess.run(list(map(str, adapt)), check=True, capture_output=True, text=True)
    sys.stderr.write(done.stdout)
    before, after = bundles.load(options.base), bundles.load(new)
    old = before.operating_points[before.default_point].threshold
    chosen = after.operating_points[after.default_point].threshold
    table = [
        measure_bundle("before", before, others, held_out, old),
        measure_bundle("after", after, others, held_out, chosen),
        measure_bundle("after, with the old threshold", after, others, held_out, old),
    ]
    results = {
        "recordings": count,
        "reviews": options.reviews,
        "others": len(others),
        "table": table,
    }
    (options.work / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    sys.stdout.write(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
