"""Score one block with an engine for live audio, from process start.

`python -m benchmarks.children.first_score PLATFORM`
"""

import sys

import numpy as np

from streamdet.model import bundle
from streamdet.pipeline import engine_choice
from streamdet.pipeline.jax_setup import configure_jax
from streamdet.pipeline.platform import Platform


def main() -> None:
    """Run the engine of the platform on one block of silence."""
    engine = engine_choice.live_engine(bundle.load(), Platform(sys.argv[1]), configure_jax)
    engine.step(engine.initial_state(), np.zeros((1, engine.block), np.float32))


if __name__ == "__main__":
    main()
