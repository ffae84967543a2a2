"""Training steps on batches in memory: scenes or clips per second, and the share of peak rate.

The peak is the rate of a large matrix product on the same cores, measured in the same run. A step
counts three times the operations of its forward pass. Mixing scenes is not included.
"""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

import numpy as np

from benchmarks.measure import print_json, round_digits, summarise, time_calls
from train.evaluation.cost import count_detector_operations, count_tagger_operations

CORES, ENVIRONMENT = None, {}
STEPS, SCENE_S, CLIP_S = 12, 6, 10
FORWARD_AND_BACKWARD = 3


def measure_detector(name: str, peak: float) -> dict[str, Any]:
    """Measure the training step of a detector's config."""
    import jax

    from train.data.scene import Scene
    from train.data.teacher import HOP_S, TEACHER_CLASSES
    from train.detector.config import load_detector_config
    from train.detector.loop import compute_features, create_state, train_step

    config = replace(load_detector_config(name), start="")
    rng, rows = np.random.default_rng(0), config.batch
    frame = config.frontend.hop * config.model.stride
    count = SCENE_S * config.frontend.sample_rate
    ticks, labels = count // frame, len(config.model.labels)
    heads = (*config.model.labels, *(f"teacher {i}" for i in range(TEACHER_CLASSES)))
    config = replace(config, model=replace(config.model, labels=heads))
    samples = rng.normal(0, 0.05, (rows, count)).astype(np.float32)
    scene = Scene(
        samples,
        rng.integers(0, 2, (rows, ticks, labels)).astype(np.float32),
        np.ones((rows, ticks, labels), np.float32),
        np.zeros((rows, ticks), np.float32),
        rng.random((rows, round(SCENE_S / HOP_S), TEACHER_CLASSES)).astype(np.float32),
        np.zeros((rows, 0), np.float32),
        np.zeros((rows, 0, 0), np.float32),
    )
    state, frames = create_state(config), compute_features(config, samples)

    def step() -> None:
        nonlocal state  # the step donates the state that it gets
        state = jax.block_until_ready(train_step(config, state, frames, scene))[0]

    spent = time_calls(step, STEPS)
    cost = count_detector_operations(config.frontend, config.model)
    flops = FORWARD_AND_BACKWARD * (cost.encoder + cost.recurrent_head) * rows * SCENE_S
    return _make_row(name, rows, spent, flops, peak, SCENE_S)


def measure_tagger(name: str, peak: float) -> dict[str, Any]:
    """Measure the training step of a tagger's config; its teachers are scored before a run."""
    import jax

    from train.audioset.batches import ClipBatch
    from train.detector.config import load_config
    from train.tagging.config import TaggerConfig
    from train.tagging.loop import create_state, train_step

    config = load_config(name)
    assert isinstance(config, TaggerConfig)
    rng, rows = np.random.default_rng(0), config.batch
    labels = (rng.random((rows, config.model.classes)) < 0.005).astype(np.float32)
    batch = ClipBatch(
        rng.integers(0, 256, (rows, CLIP_S, 128)).astype(np.uint8),
        np.full(rows, CLIP_S, np.int32),
        labels,
    )
    state = create_state(config)

    def step() -> None:
        nonlocal state  # the step donates the state that it gets
        state = jax.block_until_ready(train_step(config, state, batch))[0]

    spent = time_calls(step, STEPS)
    flops = FORWARD_AND_BACKWARD * rows * CLIP_S * count_tagger_operations(config.model)
    return _make_row(name, rows, spent, flops, peak, CLIP_S)


def _make_row(
    name: str, rows: int, spent: list[float], flops: float, peak: float, seconds: int
) -> dict[str, Any]:
    return {
        "config": name,
        "batch": rows,
        "seconds_a_clip": seconds,
        "step_s": summarise(spent),
        "clips_a_second": summarise([rows / s for s in spent]),
        "gflop_a_step": round_digits(flops / 1e9),
        "share_of_peak": round_digits(flops / min(spent) / peak, 3),
    }


def main() -> None:
    """Print the results as JSON."""
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    square = np.random.default_rng(0).normal(0, 1, (2048, 2048)).astype(np.float32)
    peak = 2 * 2048**3 / min(time_calls(lambda: square @ square, 10))
    rows = [measure_detector("second", peak)]
    rows += [measure_tagger(name, peak) for name in ("audioset_lstm", "lstm_yt8m")]
    print_json({"peak_gflops": round_digits(peak / 1e9), "rows": rows})


if __name__ == "__main__":
    main()
