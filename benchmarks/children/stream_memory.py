"""Print the peak memory of the numpy engine in MB: `... stream_memory STREAMS`."""

import sys

import numpy as np

from benchmarks.measure import peak_memory_mb, print_json
from streamdet.detection.numpy_engine import NumpyEngine
from streamdet.model import bundle


def main() -> None:
    """Run five blocks of silence through all streams."""
    engine = NumpyEngine(bundle.load(), streams=int(sys.argv[1]))
    state = engine.initial_state()
    for _ in range(5):
        state, _ = engine.step(state, np.zeros((engine.streams, engine.block), np.float32))
    print_json(peak_memory_mb())


if __name__ == "__main__":
    main()
