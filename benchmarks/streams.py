"""Many live streams on one core: every 80 ms a block of each, decided upon one by one."""

from __future__ import annotations

import time

import numpy as np

from benchmarks.measure import ONE_CORE, print_json, quantiles, rounded, seconds_of
from benchmarks.references import by_onnxruntime
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


def together(engine: Engine) -> dict[str, float]:
    """Latency of a block of every stream, and the share of real time that it takes."""
    scene, config = np.tile(demo.scene(), 2), DecisionConfig(0.5)
    at = np.arange(engine.streams)[:, None] * 997 % len(demo.scene())
    state = engine.initial_state()
    deciding = [decision.init(config, engine.grid) for _ in range(engine.streams)]
    spent = []
    for block in range(BLOCKS):
        samples = scene[(at + block * engine.block + np.arange(engine.block)) % len(scene)]
        began = time.perf_counter()
        state, frames = engine.step(state, samples)
        for i, heard in enumerate(frames):
            deciding[i], _ = decision.step(config, engine.grid, deciding[i], heard)
        spent.append(time.perf_counter() - began)
    share = float(np.mean(spent[5:])) * engine.grid.rate / engine.block
    return {**quantiles(spent[5:]), "share_of_core": rounded(share)}


def main() -> None:
    """Print what was found as JSON."""
    detector = bundle.load()
    rows = [
        {
            "streams": count,
            "numpy": together(NumpyEngine(detector, streams=count)),
            "cpu": together(JaxEngine(detector, streams=count)),
        }
        for count in COUNTS
    ]
    onnx = by_onnxruntime(detector, 200, 8)
    frames = np.random.default_rng(0).normal(0, 1, (200, 8, 64)).astype(np.float32)
    print_json(
        {
            "block_ms": 80,
            "rows": rows,
            "onnxruntime_200_network_alone": quantiles(seconds_of(lambda: onnx(frames), 30)),
        }
    )


if __name__ == "__main__":
    main()
