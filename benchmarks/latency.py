"""One live chunk: how long the road takes with it, by its length and by engine.

The whole of it counts: converter, block, frontend, network, decision. onnxruntime has the log-mel
frames by numpy in front of it and nothing behind.
"""

from __future__ import annotations

import time

import numpy as np

from benchmarks.measure import ONE_CORE, print_json, quantiles, seconds_of
from benchmarks.references import by_onnxruntime, shapes
from streamdet import demo
from streamdet.audio.source import Block
from streamdet.constants import RATE
from streamdet.detection.decision import DecisionConfig
from streamdet.detection.engine import Engine
from streamdet.model import bundle, numpy_network
from streamdet.pipeline import engine_choice
from streamdet.pipeline.jax_setup import configure_jax
from streamdet.pipeline.platform import Platform
from streamdet.pipeline.source_pipeline import SourcePipeline

CHUNKS_MS = (20, 40, 80, 100, 200, 500, 1_000)
CORES, ENVIRONMENT = 1, ONE_CORE


def chunks(engine: Engine, chunk_ms: int, seconds: float = 120.0) -> dict[str, float]:
    """Each chunk of a loud scene through a road of its own."""
    scene = np.tile(demo.scene(), 10)[: round(seconds * RATE), None]
    road, size, spent = (
        SourcePipeline(engine, DecisionConfig(0.5), RATE, 1),
        RATE * chunk_ms // 1000,
        [],
    )
    for at in range(0, len(scene) - size, size):
        block = Block(at, scene[at : at + size])
        began = time.perf_counter()
        road.feed(block)
        spent.append(time.perf_counter() - began)
    return quantiles(spent[10:])


def main() -> None:
    """Print what was found as JSON."""
    detector = bundle.load()
    made = {
        p: engine_choice.live_engine(detector, p, configure_jax)
        for p in (Platform.numpy, Platform.cpu)
    }
    for engine in made.values():
        engine.warm_up()
    rows = [
        {"chunk_ms": ms, **{p.value: chunks(engine, ms) for p, engine in made.items()}}
        for ms in CHUNKS_MS
    ]
    front, _ = shapes(detector)
    onnx, block = by_onnxruntime(detector, 1, 8), np.zeros((1, 8 * front.hop), np.float32)
    tail = np.zeros((1, front.window - front.hop), np.float32)
    other = seconds_of(lambda: onnx(numpy_network.log_mel(front, tail, block)[1]), 1_000)
    ours = {}
    for platform, engine in made.items():
        step, state = engine.step, engine.initial_state()
        spent = seconds_of(lambda step=step, state=state: step(state, block), 1_000)
        ours[platform.value] = quantiles(spent)
    print_json({"chunks": rows, "one_block_80_ms": {**ours, "onnxruntime": quantiles(other)}})


if __name__ == "__main__":
    main()
