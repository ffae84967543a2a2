"""`python -m benchmarks.redaction`: how well the speech head finds speech, for `redact_speech`.

It prints the share of val clips of speech, gunshots and ambience whose highest speech probability
reaches each threshold. Each clip is scored alone.
"""

from __future__ import annotations

import sys
from collections import defaultdict

import numpy as np

from benchmarks.measure import ROOT
from streamdet.detection.numpy_engine import NumpyEngine
from streamdet.model import bundle as bundles
from train.data.checks import read_manifest
from train.evaluation import scored_sets

DATA = ROOT.parent / "shared" / "data"
THRESHOLDS = (0.2, 0.3, 0.4, 0.5, 0.6)


def main() -> None:
    """Print the table."""
    bundle = bundles.load()
    engine = NumpyEngine(bundle)
    speech = engine.grid.labels.index("speech")
    highest: dict[str, list[float]] = defaultdict(list)
    for row in read_manifest(DATA):
        if row["split"] == "val" and row["category"] in ("speech", "gunshot", "ambient"):
            samples = scored_sets.read_samples(DATA / row["path"], engine.grid.rate)
            frames = scored_sets.score_samples(engine, samples)
            highest[row["category"]].append(float(frames.scores[:, speech].max()))
    sys.stdout.write("| from | " + " | ".join(highest) + " |\n|---")
    sys.stdout.write("|---" * len(highest) + "|\n")
    for threshold in THRESHOLDS:
        shares = (np.mean(np.array(scores) >= threshold) for scores in highest.values())
        sys.stdout.write(f"| {threshold} | " + " | ".join(f"{s:.1%}" for s in shares) + " |\n")


if __name__ == "__main__":
    main()
