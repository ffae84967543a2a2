"""Quality against cost: the networks of the sweep of sizes, each by its recall on val and by what a
second of sound costs it on one core.

`python -m train sweep sizes` trains and scores them; without its results nothing is measured.
"""

from __future__ import annotations

import json
import re

import numpy as np

from benchmarks.measure import ONE_CORE, ROOT, print_json, rounded, seconds_of
from benchmarks.references import shapes
from benchmarks.roofline import operations
from streamdet.constants import RATE
from streamdet.detection.engine import Engine, frames_per_block
from streamdet.detection.jax_engine import JaxEngine
from streamdet.detection.numpy_engine import NumpyEngine
from streamdet.model import bundle

SWEEP = ROOT / ".cache" / "runs" / "sweep-sizes"
CORES, ENVIRONMENT = 1, ONE_CORE


def cost(engine: Engine) -> float:
    """Microseconds for each second of sound."""
    samples = np.random.default_rng(0).normal(0, 0.1, (1, engine.block)).astype(np.float32)
    state = engine.initial_state()
    spent = seconds_of(lambda: engine.step(state, samples), 60)
    return rounded(float(np.median(spent)) * RATE / engine.block * 1e6)


def main() -> None:
    """Print what was found as JSON."""
    results, rows = SWEEP / "results.jsonl", []
    if not results.is_file():
        print_json({"missing": "`python -m train sweep sizes` has not been run: not measured"})
        return
    for row in map(json.loads, results.read_text().splitlines()):
        place = re.sub(r"[^a-z0-9]+", "-", row["trial"].lower()).strip("-")
        detector = bundle.load(SWEEP / place / "bundle")
        weights = sum(t.size for layer in detector.params.values() for t in layer.values())
        rows.append(
            {
                "network": row["trial"],
                "weights": weights,
                "mflop_a_second": rounded(sum(operations(*shapes(detector)).values()) / 1e6),
                "jax_us_a_second": cost(
                    JaxEngine(detector, block_frames=frames_per_block(detector, 5.12))
                ),
                "numpy_us_a_second": cost(
                    NumpyEngine(detector, block_frames=frames_per_block(detector, 1.28))
                ),
                "live_block_us": rounded(
                    cost(NumpyEngine(detector, block_frames=1)) * detector_frame(detector), 3
                ),
                "rare_recall_at_6_fa_h": row["rare_recall_at_6_fa_h"],
                "film_recall_at_6_fa_h": row["film_recall_at_6_fa_h"],
            }
        )
    print_json({"rows": rows})


def detector_frame(detector: bundle.Bundle) -> float:
    """Seconds of one frame of scores."""
    front, model = shapes(detector)
    return front.hop * model.stride / front.sample_rate


if __name__ == "__main__":
    main()
