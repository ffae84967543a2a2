"""The shipped network in other runtimes: what a reader would set beside ours."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from streamdet.model import numpy_network
from streamdet.model.bundle import Bundle
from streamdet.model.config import FrontendConfig, ModelConfig


def shapes(bundle: Bundle) -> tuple[FrontendConfig, ModelConfig]:
    """The bundle's, if it is a detector's."""
    front, model = bundle.frontend, bundle.model
    if not isinstance(front, FrontendConfig) or not isinstance(model, ModelConfig):
        raise SystemExit(f"{bundle.name} is no detector")
    return front, model


def by_onnxruntime(bundle: Bundle, streams: int, frames: int) -> Callable[[np.ndarray], np.ndarray]:
    """``(streams, frames, bands)`` frames to logits, the state carried, on one thread."""
    import onnxruntime

    from benchmarks.onnx_network import exported

    _, model = shapes(bundle)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        exported(model, bundle.params, streams, frames), options, ["CPUExecutionProvider"]
    )
    state = {
        put.name: np.zeros(put.shape, np.float32)
        for put in session.get_inputs()
        if put.name != "frames"
    }
    names = [put.name for put in session.get_outputs()]

    def step(heard: np.ndarray) -> np.ndarray:
        found: Any = session.run(None, {"frames": heard, **state})
        after = dict(zip(names, found, strict=True))
        state.update({name: after[f"{name}_after"] for name in state})
        return after["logits"]

    return step


def by_jax(
    bundle: Bundle, streams: int, kind: str = "float32"
) -> Callable[[np.ndarray], np.ndarray]:
    """The same by the compiled network alone, weights and all that it computes of that type."""
    from functools import partial

    import jax
    import jax.numpy as jnp

    from streamdet.model import network

    _, model = shapes(bundle)
    as_kind = lambda tree: jax.tree.map(lambda x: jnp.asarray(x, kind), tree)  # noqa: E731
    params = as_kind(bundle.params)
    compiled = jax.jit(partial(network.step, model))
    state = [as_kind(network.init_state(model, streams))]

    def step(heard: np.ndarray) -> np.ndarray:
        state[0], logits = compiled(params, state[0], jnp.asarray(heard, kind))
        return np.asarray(logits, np.float32)

    return step


def by_numpy(bundle: Bundle, streams: int) -> Callable[[np.ndarray], np.ndarray]:
    """The same by the plain network alone."""
    front, model = shapes(bundle)
    ready = numpy_network.prepare_weights(front, model, bundle.params)
    state = [numpy_network.init(front, model, streams)]

    def step(heard: np.ndarray) -> np.ndarray:
        state[0], logits = numpy_network.run_network(ready, state[0], heard)
        return logits

    return step
