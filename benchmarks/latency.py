"""Processing time of one live chunk, by its length and by engine.

It includes everything: resampler, blocks, frontend, network and decision. For onnxruntime, it is
numpy's log-mel frames and the network only.
"""

from __future__ import annotations

import time

import numpy as np

from benchmarks.measure import ONE_CORE, print_json, summarise_latency, time_calls
from benchmarks.references import detector_configs, make_onnxruntime_step
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


def measure_chunks(engine: Engine, chunk_ms: int, seconds: float = 120.0) -> dict[str, float]:
    """Feed the chunks of a loud scene to a pipeline and time each one."""
    scene = np.tile(demo.scene(), 10)[: round(seconds * RATE), None]
    pipeline = SourcePipeline(engine, DecisionConfig(0.5), RATE, 1)
    size, spent = RATE * chunk_ms // 1000, []
    for at in range(0, len(scene) - size, size):
        block = Block(at, scene[at : at + size])
        began = time.perf_counter()
        pipeline.feed(block)
        spent.append(time.perf_counter() - began)
    return summarise_latency(spent[10:])


def main() -> None:
    """Print the results as JSON."""
    detector = bundle.load()
    made = {
        p: engine_choice.live_engine(detector, p, configure_jax)
        for p in (Platform.numpy, Platform.cpu)
    }
    for engine in made.values():
        engine.warm_up()
    rows = [
        {"chunk_ms": ms, **{p.value: measure_chunks(engine, ms) for p, engine in made.items()}}
        for ms in CHUNKS_MS
    ]
    front, _ = detector_configs(detector)
    onnx, block = make_onnxruntime_step(detector, 1), np.zeros((1, 8 * front.hop), np.float32)
    tail = np.zeros((1, front.window - front.hop), np.float32)
    other = time_calls(lambda: onnx(numpy_network.log_mel(front, tail, block)[1]), 1_000)
    ours = {}
    for platform, engine in made.items():
        step, state = engine.step, engine.initial_state()
        spent = time_calls(lambda step=step, state=state: step(state, block), 1_000)
        ours[platform.value] = summarise_latency(spent)
    print_json(
        {"chunks": rows, "one_block_80_ms": {**ours, "onnxruntime": summarise_latency(other)}}
    )


if __name__ == "__main__":
    main()
