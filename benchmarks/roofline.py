"""What the arithmetic of the shipped detector allows on one core, and how near its stages come.

The ceilings are measured in the same run: the largest rate of a matrix product in float32, and of
reading memory that lies in no cache.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from benchmarks.measure import ONE_CORE, print_json, rounded, seconds_of
from benchmarks.references import shapes
from streamdet.model import bundle
from streamdet.model.config import FrontendConfig, ModelConfig

BLOCK_S = 5.12
CORES, ENVIRONMENT = 1, ONE_CORE


def operations(front: FrontendConfig, model: ModelConfig) -> dict[str, float]:
    """Multiplications and additions for a second of sound, by stage; a real FFT of n points as
    2.5 n log2(n), half of the usual count of a complex one."""
    frames = front.sample_rate / front.hop
    ticks, rate = frames / model.stride, frames
    n = front.n_fft
    frontend = frames * (
        front.window + 2.5 * n * np.log2(n) + 3 * (n // 2 + 1) + 2 * (n // 2 + 1) * front.bands
    )
    encoder, width = 0.0, model.bands * model.views
    for i, ((channels, kernel, stride), out) in enumerate(
        zip(model.conv, model.widths(), strict=True)
    ):
        rate /= stride
        seen = model.patch[0] * model.views if i == 0 and model.patch else width
        places = model.positions if i == 0 else 1
        encoder += rate * places * 2 * kernel * seen * channels
        width = out
    encoder += sum(ticks * 2 * kernel * width * width for kernel, _ in model.residual)
    recurrent_head = 0.0
    for cells in model.cells:
        recurrent_head += ticks * 2 * (width + cells) * 4 * cells
        width = cells
    recurrent_head += ticks * 2 * width * len(model.labels)
    return {"frontend": frontend, "encoder": encoder, "recurrent head": recurrent_head}


def main() -> None:
    """Print what was found as JSON."""
    import jax

    from streamdet.detection import jax_engine

    detector = bundle.load()
    front, model = shapes(detector)
    square = np.random.default_rng(0).normal(0, 1, (1024, 1024)).astype(np.float32)
    peak = 2 * 1024**3 / min(seconds_of(lambda: square @ square, 30))
    large = np.ones(1 << 26, np.float32)  # zeros would all be one page, read from a cache
    bandwidth = large.nbytes / min(seconds_of(lambda: large.max(), 8))
    count = round(BLOCK_S * front.sample_rate)
    x = np.random.default_rng(0).normal(0, 0.1, (1, count)).astype(np.float32)
    params, state = jax.device_put(detector.params), jax_engine.init(front, model, 1)
    whole = partial(jax_engine.step, jax_engine.DETECTOR.stages, front, model, params)
    rows, total = {}, operations(front, model)
    for stage, before in zip(jax_engine.DETECTOR.stages, state, strict=True):
        one = partial(jax_engine.step, (stage,), front, model, params, (before,))
        spent = min(seconds_of(lambda one=one, x=x: jax.block_until_ready(one(x)), 100)) / BLOCK_S
        name = stage.__name__.removesuffix("_stage").replace("_", " ")
        rows[name] = _row(total[name], spent, peak)
        x = one(x)[1]
    x = np.random.default_rng(0).normal(0, 0.1, (1, count)).astype(np.float32)
    spent = min(seconds_of(lambda: jax.block_until_ready(whole(state, x)), 100)) / BLOCK_S
    rows["one step"] = _row(sum(total.values()), spent, peak)
    weights = sum(t.nbytes for layer in detector.params.values() for t in layer.values())
    recurrent = sum(
        detector.params[f"lstm_{i}"]["recurrent_kernel"].nbytes for i in range(len(model.cells))
    )
    ticks = front.sample_rate / front.hop / model.stride
    print_json(
        {
            "peak_gflops": rounded(peak / 1e9),
            "memory_gb_s": rounded(bandwidth / 1e9),
            "block_s": BLOCK_S,
            "weights_kb": rounded(weights / 1e3),
            "recurrent_kb_a_tick": rounded(recurrent / 1e3),
            "recurrent_gb_a_second_of_sound": rounded(recurrent * ticks / 1e9),
            "bound_times_real_time": rounded(peak / sum(total.values())),
            "stages": rows,
        }
    )


def _row(operations: float, spent: float, peak: float) -> dict[str, float]:
    return {
        "mflop": rounded(operations / 1e6),
        "bound_us": rounded(operations / peak * 1e6),
        "us": rounded(spent * 1e6),
        "share_of_peak": rounded(operations / peak / spent, 3),
    }


if __name__ == "__main__":
    main()
