"""Training steps on batches already in memory: scenes or clips a second, and how near the roofline.

The ceiling is the rate of a large matrix product on the same cores, measured in the same run; a
step is counted as three times its forward products. Making scenes is the loader's work.
"""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

import numpy as np

from benchmarks.measure import print_json, rounded, seconds_of, spread
from benchmarks.roofline import operations
from streamdet.model.config import TaggerModelConfig

CORES, ENVIRONMENT = None, {}
STEPS, SCENE_S, CLIP_S = 12, 6, 10
FORWARD_AND_BACK = 3


def of_detector(name: str, peak: float) -> dict[str, Any]:
    """A detector's config."""
    import jax

    from train.data.mixing import Scene
    from train.data.teacher import TEACHER_CLASSES
    from train.detector import config as configs
    from train.detector.loop import create_state, features, train_step

    config = replace(configs.load(name), start="")
    rng, rows = np.random.default_rng(0), config.batch
    ticks, labels = SCENE_S * 25, len(config.model.labels)
    heads = (*config.model.labels, *(f"teacher {i}" for i in range(TEACHER_CLASSES)))
    config = replace(config, model=replace(config.model, labels=heads))
    samples = rng.normal(0, 0.05, (rows, SCENE_S * 16_000)).astype(np.float32)
    scene = Scene(
        samples,
        rng.integers(0, 2, (rows, ticks, labels)).astype(np.float32),
        np.ones((rows, ticks, labels), np.float32),
        np.zeros((rows, ticks), np.float32),
        rng.random((rows, round(SCENE_S / 0.48), TEACHER_CLASSES)).astype(np.float32),
    )
    state, frames = create_state(config), features(config, samples)
    spent = seconds_of(
        lambda: jax.block_until_ready(train_step(config, state, frames, scene)), STEPS
    )
    work = operations(config.frontend, config.model)
    flops = FORWARD_AND_BACK * (work["encoder"] + work["recurrent head"]) * rows * SCENE_S
    return _row(name, rows, spent, flops, peak, SCENE_S)


def of_tagger(name: str, peak: float) -> dict[str, Any]:
    """A tagger's config, without its teachers: what they said is known before a run."""
    import jax

    from train.audioset.batches import ClipBatch
    from train.detector import config as configs
    from train.tagging.config import TaggerConfig
    from train.tagging.loop import create_state, train_step

    config = configs.load_any(name)
    assert isinstance(config, TaggerConfig)
    rng, rows = np.random.default_rng(0), config.batch
    labels = (rng.random((rows, config.model.classes)) < 0.005).astype(np.float32)
    batch = ClipBatch(
        rng.integers(0, 256, (rows, CLIP_S, 128)).astype(np.uint8),
        np.full(rows, CLIP_S, np.int32),
        labels,
    )
    state = create_state(config)
    spent = seconds_of(lambda: jax.block_until_ready(train_step(config, state, batch)), STEPS)
    flops = FORWARD_AND_BACK * rows * CLIP_S * tagger_operations(config.model)
    return _row(name, rows, spent, flops, peak, CLIP_S)


def tagger_operations(model: TaggerModelConfig, width: int = 128) -> float:
    """Multiplications and additions of a second of a clip in the layers that run each second."""
    attending = model.pooling == "attention"
    total, ways = 0.0, 2 if attending and model.both_ways else 1
    if attending:
        total, width = 2.0 * width * model.dense, model.dense
    dense = width
    for cells in model.cells:
        total += ways * 2 * (width + cells) * 4 * cells
        width = ways * cells
    if attending:
        total += 2 * 2 * (width + (dense if model.skip and model.cells else 0)) * model.classes
    return total


def _row(
    name: str, rows: int, spent: list[float], flops: float, peak: float, seconds: int
) -> dict[str, Any]:
    return {
        "config": name,
        "batch": rows,
        "seconds_a_clip": seconds,
        "step_s": spread(spent),
        "clips_a_second": spread([rows / s for s in spent]),
        "gflop_a_step": rounded(flops / 1e9),
        "share_of_peak": rounded(flops / min(spent) / peak, 3),
    }


def main() -> None:
    """Print what was found as JSON."""
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    square = np.random.default_rng(0).normal(0, 1, (2048, 2048)).astype(np.float32)
    peak = 2 * 2048**3 / min(seconds_of(lambda: square @ square, 10))
    rows = [of_detector("second", peak)]
    rows += [of_tagger(name, peak) for name in ("audioset_lstm", "lstm_yt8m")]
    print_json({"peak_gflops": rounded(peak / 1e9), "rows": rows})


if __name__ == "__main__":
    main()
