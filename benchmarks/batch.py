"""Cost of a second of sound on one core, by batch size and engine.

The blocks are as long as those of files analysed in one batch; onnxruntime runs the network only.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.measure import ONE_CORE, print_json, round_digits, time_calls
from benchmarks.references import make_onnxruntime_step
from streamdet.detection.engine import Engine, frames_per_block
from streamdet.detection.jax_engine import JaxEngine
from streamdet.detection.numpy_engine import NumpyEngine
from streamdet.model import bundle

COUNTS = (1, 2, 4, 8, 16, 32, 64)
BLOCK_S = 1.28
CORES, ENVIRONMENT = 1, ONE_CORE
ENGINES: dict[str, type[Engine[Any]]] = {"numpy": NumpyEngine, "cpu": JaxEngine}


def main() -> None:
    """Print the results as JSON."""
    detector, rows = bundle.load(), []
    frames = frames_per_block(detector, BLOCK_S)
    for count in COUNTS:
        row: dict[str, float] = {"batch": count}
        for name, kind in ENGINES.items():
            engine = kind(detector, streams=count, block_frames=frames)
            rng = np.random.default_rng(0)
            samples = rng.normal(0, 0.1, (count, engine.block)).astype(np.float32)
            step, state = engine.step, engine.initial_state()
            spent = time_calls(lambda s=step, b=state, x=samples: s(b, x), 15)
            row[name] = round_digits(float(np.median(spent)) / BLOCK_S / count * 1e6)
        onnx = make_onnxruntime_step(detector, count)
        frames_in = np.random.default_rng(0).normal(0, 1, (count, 128, 64)).astype(np.float32)
        spent = time_calls(lambda f=onnx, x=frames_in: f(x), 15)
        row["onnxruntime_network"] = round_digits(float(np.median(spent)) / BLOCK_S / count * 1e6)
        rows.append(row)
    print_json({"block_s": BLOCK_S, "microseconds_a_second": rows})


if __name__ == "__main__":
    main()
