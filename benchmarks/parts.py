"""Cost of a second of sound on one core by part of the pipeline, and in other runtimes.

It measures decoding, log-mel frames, the network and a whole step, and onnxruntime and numpy on the
same blocks, in microseconds for each second of sound.
"""

from __future__ import annotations

from functools import partial

import jax
import numpy as np

from benchmarks.measure import ONE_CORE, make_long_file, print_json, summarise, time_calls
from benchmarks.references import (
    detector_configs,
    make_jax_step,
    make_numpy_step,
    make_onnxruntime_step,
)
from streamdet.audio.file import FileSource
from streamdet.audio.resample import MonoResampler
from streamdet.constants import RATE
from streamdet.model import bundle, frontend, numpy_network
from streamdet.pipeline import engine_choice
from streamdet.pipeline.jax_setup import configure_jax
from streamdet.pipeline.platform import Platform

SECONDS = 600
CORES, ENVIRONMENT = 1, ONE_CORE


def main() -> None:
    """Print the results as JSON."""
    detector = bundle.load()
    front, _ = detector_configs(detector)
    engine = engine_choice.file_engine(detector, Platform.cpu, SECONDS, configure_jax)
    small = engine_choice.file_engine(detector, Platform.numpy)
    rng, length = np.random.default_rng(0), engine.block / RATE
    samples = rng.normal(0, 0.1, (1, engine.block)).astype(np.float32)
    tail = np.zeros((1, front.window - front.hop), np.float32)
    frames = numpy_network.log_mel(front, tail, samples)[1]
    mel, silence = jax.jit(partial(frontend.step, front)), frontend.init(front, 1)
    onnx, in_numpy = make_onnxruntime_step(detector, 1), make_numpy_step(detector, 1)
    network, bfloat16 = make_jax_step(detector, 1), make_jax_step(detector, 1, "bfloat16")
    np.testing.assert_allclose(onnx(frames), network(frames), atol=1e-3)
    state, other = engine.initial_state(), small.initial_state()
    work = {
        "log-mel": lambda: jax.block_until_ready(mel(silence, samples)),
        "network": lambda: network(frames),
        "network in bfloat16": lambda: bfloat16(frames),
        "all of a step": lambda: engine.step(state, samples),
        "onnxruntime: network": lambda: onnx(frames),
        "numpy: log-mel": lambda: numpy_network.log_mel(front, tail, samples),
        "numpy: network": lambda: in_numpy(frames),
        "numpy: all of a step": lambda: small.step(other, samples),
    }
    results = {k: summarise([s / length * 1e6 for s in time_calls(w, 60)]) for k, w in work.items()}
    with make_long_file(SECONDS) as path:

        def decode() -> None:
            source = FileSource(path)
            converter = MonoResampler(source.rate, source.channels, RATE)
            for block in source.blocks():
                converter.feed(block.samples)
            source.close()

        decoding = summarise([s / SECONDS * 1e6 for s in time_calls(decode, 7, 1)])
    print_json({"microseconds_a_second": {"decoding": decoding, **results}})


if __name__ == "__main__":
    main()
