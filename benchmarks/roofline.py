"""Arithmetic bound of the shipped detector on one core, and how close its stages come to it.

The limits are measured in the same run: the highest rate of a float32 matrix product, and of
reading memory that is in no cache.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from benchmarks.measure import ONE_CORE, print_json, round_digits, time_calls
from benchmarks.references import detector_configs
from streamdet.model import bundle
from train.evaluation.cost import count_detector_operations

BLOCK_S = 5.12
CORES, ENVIRONMENT = 1, ONE_CORE


def main() -> None:
    """Print the results as JSON."""
    import jax

    from streamdet.detection import jax_engine

    detector = bundle.load()
    front, model = detector_configs(detector)
    square = np.random.default_rng(0).normal(0, 1, (1024, 1024)).astype(np.float32)
    peak = 2 * 1024**3 / min(time_calls(lambda: square @ square, 30))
    large = np.ones(1 << 26, np.float32)  # zeros would share one cached page
    bandwidth = large.nbytes / min(time_calls(lambda: large.max(), 8))
    count = round(BLOCK_S * front.sample_rate)
    x = np.random.default_rng(0).normal(0, 0.1, (1, count)).astype(np.float32)
    params, state = jax.device_put(detector.params), jax_engine.init(front, model, 1)
    whole = partial(jax_engine.step, jax_engine.DETECTOR.stages, front, model, params)
    rows, cost = {}, count_detector_operations(front, model)
    for name, operations, stage, before in zip(
        cost._fields, cost, jax_engine.DETECTOR.stages, state, strict=True
    ):
        one = partial(jax_engine.step, (stage,), front, model, params, (before,))
        spent = min(time_calls(lambda one=one, x=x: jax.block_until_ready(one(x)), 100)) / BLOCK_S
        rows[name.replace("_", " ")] = _make_row(operations, spent, peak)
        x = one(x)[1]
    x = np.random.default_rng(0).normal(0, 0.1, (1, count)).astype(np.float32)
    spent = min(time_calls(lambda: jax.block_until_ready(whole(state, x)), 100)) / BLOCK_S
    rows["one step"] = _make_row(sum(cost), spent, peak)
    weights = sum(t.nbytes for layer in detector.params.values() for t in layer.values())
    recurrent = sum(
        detector.params[f"lstm_{i}"]["recurrent_kernel"].nbytes for i in range(len(model.cells))
    )
    ticks = front.sample_rate / front.hop / model.stride
    print_json(
        {
            "peak_gflops": round_digits(peak / 1e9),
            "memory_gb_s": round_digits(bandwidth / 1e9),
            "block_s": BLOCK_S,
            "weights_kb": round_digits(weights / 1e3),
            "recurrent_kb_a_tick": round_digits(recurrent / 1e3),
            "recurrent_gb_a_second_of_sound": round_digits(recurrent * ticks / 1e9),
            "bound_times_real_time": round_digits(peak / sum(cost)),
            "stages": rows,
        }
    )


def _make_row(operations: float, spent: float, peak: float) -> dict[str, float]:
    return {
        "mflop": round_digits(operations / 1e6),
        "bound_us": round_digits(operations / peak * 1e6),
        "us": round_digits(spent * 1e6),
        "share_of_peak": round_digits(operations / peak / spent, 3),
    }


if __name__ == "__main__":
    main()
