"""Many live streams on one core: every 80 ms, a block of each stream in one batch."""

from __future__ import annotations

import time

import numpy as np

from benchmarks.measure import ONE_CORE, print_json, round_digits, summarise_latency, time_calls
from benchmarks.references import make_onnxruntime_step
from streamdet import demo
from streamdet.detection import decision
from streamdet.detection.decision import DecisionConfig
from streamdet.detection.engine import Engine
from streamdet.detection.jax_engine import JaxEngine
from streamdet.detection.numpy_engine import NumpyEngine
from streamdet.model import bundle

COUNTS = (1, 2, 5, 10, 20, 50, 100, 200, 500)
BLOCKS = 100
CORES, ENVIRONMENT = 1, ONE_CORE


def measure_streams(engine: Engine) -> dict[str, float]:
    """Measure the latency of a step with a block of every stream, and its share of real time."""
    scene, config = np.tile(demo.scene(), 2), DecisionConfig(0.5)
    offsets = np.arange(engine.streams)[:, None] * 997 % len(demo.scene())
    state = engine.initial_state()
    decisions = [decision.init(config, engine.grid) for _ in range(engine.streams)]
    spent = []
    for block in range(BLOCKS):
        samples = scene[(offsets + block * engine.block + np.arange(engine.block)) % len(scene)]
        began = time.perf_counter()
        state, frames = engine.step(state, samples)
        for i, stream_frames in enumerate(frames):
            decisions[i], _ = decision.step(config, engine.grid, decisions[i], stream_frames)
        spent.append(time.perf_counter() - began)
    share = float(np.mean(spent[5:])) * engine.grid.rate / engine.block
    return {**summarise_latency(spent[5:]), "share_of_core": round_digits(share)}


def main() -> None:
    """Print the results as JSON."""
    detector = bundle.load()
    rows = [
        {
            "streams": count,
            "numpy": measure_streams(NumpyEngine(detector, streams=count)),
            "cpu": measure_streams(JaxEngine(detector, streams=count)),
        }
        for count in COUNTS
    ]
    onnx = make_onnxruntime_step(detector, 200)
    frames = np.random.default_rng(0).normal(0, 1, (200, 8, 64)).astype(np.float32)
    print_json(
        {
            "block_ms": 80,
            "rows": rows,
            "onnxruntime_200_network_alone": summarise_latency(
                time_calls(lambda: onnx(frames), 30)
            ),
        }
    )


if __name__ == "__main__":
    main()
