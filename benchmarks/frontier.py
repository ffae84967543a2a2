"""Quality against cost: recall on the val scenes and CPU time of networks of several sizes.

`python -m train sweep sizes` trains and scores the networks and must have been run before.
"""

from __future__ import annotations

import json

import numpy as np

from benchmarks.measure import ONE_CORE, ROOT, print_json, round_digits, time_calls
from benchmarks.references import detector_configs
from streamdet.constants import RATE
from streamdet.detection.engine import Engine, frames_per_block
from streamdet.detection.jax_engine import JaxEngine
from streamdet.detection.numpy_engine import NumpyEngine
from streamdet.model import bundle
from train.detector.sweep import name_trial_folder
from train.evaluation.cost import count_detector_operations

SWEEP = ROOT / ".cache" / "runs" / "sweep-sizes"
CORES, ENVIRONMENT = 1, ONE_CORE


def measure_cost(engine: Engine) -> float:
    """Measure the microseconds for each second of sound."""
    samples = np.random.default_rng(0).normal(0, 0.1, (1, engine.block)).astype(np.float32)
    state = engine.initial_state()
    spent = time_calls(lambda: engine.step(state, samples), 60)
    return round_digits(float(np.median(spent)) * RATE / engine.block * 1e6)


def main() -> None:
    """Print the results as JSON."""
    results, rows = SWEEP / "results.jsonl", []
    if not results.is_file():
        print_json({"missing": "Not measured: run `python -m train sweep sizes` first"})
        return
    for row in map(json.loads, results.read_text().splitlines()):
        detector = bundle.load(SWEEP / name_trial_folder(row["trial"]) / "bundle")
        weights = sum(t.size for layer in detector.params.values() for t in layer.values())
        rows.append(
            {
                "network": row["trial"],
                "weights": weights,
                "mflop_a_second": round_digits(
                    sum(count_detector_operations(*detector_configs(detector))) / 1e6
                ),
                "jax_us_a_second": measure_cost(
                    JaxEngine(detector, block_frames=frames_per_block(detector, 5.12))
                ),
                "numpy_us_a_second": measure_cost(
                    NumpyEngine(detector, block_frames=frames_per_block(detector, 1.28))
                ),
                "live_block_us": round_digits(
                    measure_cost(NumpyEngine(detector, block_frames=1)) * frame_seconds(detector), 3
                ),
                "rare_recall_at_6_fa_h": row["rare_recall_at_6_fa_h"],
                "film_recall_at_6_fa_h": row["film_recall_at_6_fa_h"],
            }
        )
    print_json({"rows": rows})


def frame_seconds(detector: bundle.Bundle) -> float:
    """The length of a frame of scores in seconds."""
    front, model = detector_configs(detector)
    return front.hop * model.stride / front.sample_rate


if __name__ == "__main__":
    main()
