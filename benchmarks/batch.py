"""Growth with the batch: sound a second on one core, by streams abreast and by engine.

Blocks of a second, as for files heard side by side; onnxruntime runs the network alone.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.measure import ONE_CORE, print_json, rounded, seconds_of
from benchmarks.references import by_onnxruntime
from streamdet.detection.engine import Engine, frames_per_block
from streamdet.detection.jax_engine import JaxEngine
from streamdet.detection.numpy_engine import NumpyEngine
from streamdet.model import bundle

COUNTS = (1, 2, 4, 8, 16, 32, 64)
BLOCK_S = 1.28
CORES, ENVIRONMENT = 1, ONE_CORE
ENGINES: dict[str, type[Engine[Any]]] = {"numpy": NumpyEngine, "cpu": JaxEngine}


def main() -> None:
    """Print what was found as JSON."""
    detector, rows = bundle.load(), []
    frames = frames_per_block(detector, BLOCK_S)
    for count in COUNTS:
        row: dict[str, float] = {"batch": count}
        for name, kind in ENGINES.items():
            engine = kind(detector, streams=count, block_frames=frames)
            rng = np.random.default_rng(0)
            samples = rng.normal(0, 0.1, (count, engine.block)).astype(np.float32)
            step, state = engine.step, engine.initial_state()
            spent = seconds_of(lambda s=step, b=state, x=samples: s(b, x), 15)
            row[name] = rounded(float(np.median(spent)) / BLOCK_S / count * 1e6)
        onnx = by_onnxruntime(detector, count, 128)
        heard = np.random.default_rng(0).normal(0, 1, (count, 128, 64)).astype(np.float32)
        spent = seconds_of(lambda f=onnx, x=heard: f(x), 15)
        row["onnxruntime_network"] = rounded(float(np.median(spent)) / BLOCK_S / count * 1e6)
        rows.append(row)
    print_json({"block_s": BLOCK_S, "microseconds_a_second": rows})


if __name__ == "__main__":
    main()
