"""The shipped network in several runtimes, for comparison.

`python -m benchmarks.references` checks that they compute the same logits.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import numpy as np

from streamdet.model import bundle as bundles
from streamdet.model import numpy_network
from streamdet.model.bundle import Bundle
from streamdet.model.bundle_files import DETECTOR_GRAPH
from streamdet.model.config import FrontendConfig, ModelConfig

TOLERANCE = 1e-4


def detector_configs(bundle: Bundle) -> tuple[FrontendConfig, ModelConfig]:
    """Return the configs of a detector's bundle; raises SystemExit for another."""
    front, model = bundle.frontend, bundle.model
    if not isinstance(front, FrontendConfig) or not isinstance(model, ModelConfig):
        raise SystemExit(f"{bundle.name} is not a detector")
    return front, model


def make_onnxruntime_step(bundle: Bundle, streams: int) -> Callable[[np.ndarray], np.ndarray]:
    """Make a step of onnxruntime on one thread: ``(streams, frames, bands)`` to logits.

    The step keeps the state.
    """
    from streamdet.model.onnx_network import OnnxDetector

    front, model = detector_configs(bundle)
    detector = OnnxDetector(model, bundle.graphs[DETECTOR_GRAPH], bundle.card["sha256"])
    state = [numpy_network.init(front, model, streams)]

    def step(x: np.ndarray) -> np.ndarray:
        state[0], logits = detector.run(state[0], x)
        return logits

    return step


def make_jax_step(
    bundle: Bundle, streams: int, kind: str = "float32"
) -> Callable[[np.ndarray], np.ndarray]:
    """Make a step of the compiled network, with weights and arithmetic of a type."""
    from functools import partial

    import jax
    import jax.numpy as jnp

    from streamdet.model import network

    _, model = detector_configs(bundle)
    as_kind = lambda tree: jax.tree.map(lambda x: jnp.asarray(x, kind), tree)  # noqa: E731
    params = as_kind(bundle.params)
    compiled = jax.jit(partial(network.step, model))
    state = [as_kind(network.init_state(model, streams))]

    def step(x: np.ndarray) -> np.ndarray:
        state[0], logits = compiled(params, state[0], jnp.asarray(x, kind))
        return np.asarray(logits, np.float32)

    return step


def make_numpy_step(bundle: Bundle, streams: int) -> Callable[[np.ndarray], np.ndarray]:
    """Make a step of the numpy network."""
    front, model = detector_configs(bundle)
    weights = numpy_network.prepare_weights(front, model, bundle.params)
    state = [numpy_network.init(front, model, streams)]

    def step(x: np.ndarray) -> np.ndarray:
        state[0], logits = numpy_network.run_network(weights, state[0], x)
        return logits

    return step


def check_agreement(bundle: Bundle, streams: int, frames: int = 8, blocks: int = 3) -> float:
    """Return the largest difference of logits between the runtimes on random frames."""
    front, _ = detector_configs(bundle)
    shape = (streams, frames * blocks, front.bands)
    x = np.random.default_rng(0).normal(0, 1, shape).astype(np.float32)
    steps = (
        make_onnxruntime_step(bundle, streams),
        make_jax_step(bundle, streams),
        make_numpy_step(bundle, streams),
    )
    starts = range(0, x.shape[1], frames)
    logits = [np.concatenate([s(x[:, i : i + frames]) for i in starts], axis=1) for s in steps]
    return max(float(np.abs(other - logits[0]).max()) for other in logits[1:])


def main() -> None:
    """Check the shipped detectors; the exit code is 1 if runtimes differ by more than 1e-4."""
    differ = False
    for name, streams in (("third", 1), ("third", 3), ("tiny", 1)):
        difference = check_agreement(bundles.load(bundles.ZOO / name), streams)
        differ |= not difference <= TOLERANCE
        sys.stdout.write(f"{name}, streams: {streams}, largest difference: {difference:.2g}\n")
    if differ:
        raise SystemExit(f"runtimes differ by more than {TOLERANCE:g}")


if __name__ == "__main__":
    main()
