"""The cost of the verifier: time of a window, of an hour of film with and without it, and of a
quiet live stream.

The film is the first hour of the val reels in .cache/val (`python -m train mixtures .cache/val`). A
bundle in .cache/second (`python -m train recipe second .cache/second`) is measured too.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from benchmarks.measure import (
    ONE_CORE,
    ROOT,
    limit_cores,
    print_json,
    round_digits,
    run_streamdet,
    summarise,
    summarise_latency,
)
from streamdet import demo
from streamdet.audio.source import Block
from streamdet.constants import RATE
from streamdet.detection.decision import DecisionConfig
from streamdet.detection.operating_point import choose_threshold
from streamdet.detection.window_scorer import create_scorer
from streamdet.model import bundle as bundles
from streamdet.model.bundle import Bundle
from streamdet.pipeline import engine_choice
from streamdet.pipeline.platform import Platform
from streamdet.pipeline.source_pipeline import SourcePipeline

REELS = ROOT / ".cache" / "val" / "film"
BEFORE = ROOT / ".cache" / "second"
REPEATS, WINDOWS, WARM, QUIET_S = 5, 300, 20, 60
CORES: int | None = 1
ENVIRONMENT = ONE_CORE


def measure_windows(bundle: Bundle, *, onnx: bool) -> dict[str, float]:
    """Time single windows of a bundle's verifier on the demo scene, in numpy or in onnxruntime, on
    one core."""
    scorer = create_scorer(bundle, onnx=onnx)
    assert scorer is not None
    stream = engine_choice.file_engine(bundle, Platform.numpy).stream()
    log_mel = np.concatenate([frames.log_mel for frames in stream.feed(demo.scene())])
    last = len(log_mel) - scorer.config.window
    starts = np.random.default_rng(1).integers(0, last, WARM + WINDOWS)
    spent = []
    with limit_cores(1):
        for start in starts.tolist():
            began = time.perf_counter()
            scorer.score_windows(log_mel, [start])
            spent.append(time.perf_counter() - began)
    return summarise_latency(spent[WARM:])


@contextmanager
def join_reels() -> Iterator[tuple[Path, float]]:
    """The first hour of the val reels as one file, and its length in seconds."""
    reels = sorted(REELS.iterdir())
    with tempfile.TemporaryDirectory() as folder:
        path, written = Path(folder) / "film.wav", 0
        with soundfile.SoundFile(path, "w", RATE, 1, "PCM_16") as sink:
            for reel in reels:
                samples = soundfile.read(reel, dtype="float32")[0][: 3_600 * RATE - written]
                sink.write(samples)
                written += len(samples)
        yield path, written / RATE


def measure_film(path: Path, seconds: float, model: str, verify: str) -> dict[str, Any]:
    """Measure `streamdet file` on one core."""
    args = ["file", str(path), "--model", model, "--verify", verify]
    run_streamdet(args, 1)
    done = [run_streamdet(args, 1) for _ in range(REPEATS)]
    return {
        "bundle": Path(model).name,
        "verify": verify,
        "times_real_time": summarise([seconds / wall for wall, _ in done]),
        "peak_mb": round_digits(max(peak for _, peak in done), 3),
    }


def measure_quiet_stream(model: str, verify: str) -> dict[str, Any]:
    """The CPU time of the pipeline of a quiet live stream, as a share of a core."""
    bundle = bundles.load(Path(model))
    scorer = create_scorer(bundle, verify=verify == "on")
    decision = DecisionConfig(choose_threshold(bundle, verify=verify == "on"))
    noise = np.random.default_rng(1).standard_normal((QUIET_S * RATE, 1)).astype(np.float32) * 1e-3
    size, shares = round(engine_choice.LIVE_BLOCK_S * RATE), []
    with limit_cores(1):
        for _ in range(REPEATS):
            pipeline = SourcePipeline(
                engine_choice.live_engine(bundle, Platform.numpy), decision, RATE, 1, scorer=scorer
            )
            began = time.process_time()
            for start in range(0, len(noise), size):
                pipeline.feed(Block(start, noise[start : start + size]))
            shares.append((time.process_time() - began) / QUIET_S)
    return {"bundle": Path(model).name, "verify": verify, "share_of_core": summarise(shares)}


def main() -> None:
    """Print the results as JSON."""
    if not REELS.is_dir():
        print_json({"missing": "no val scenes: run `python -m train mixtures .cache/val`"})
        return
    default = bundles.DEFAULT
    runs = [(default, "on"), (default, "off"), ("tiny", "off")]
    runs += [(str(BEFORE), "off")] if BEFORE.is_dir() else []
    with join_reels() as (path, seconds):
        rows = [measure_film(path, seconds, *run) for run in runs]
    print_json(
        {
            "windows": {
                name: measure_windows(bundles.load(), onnx=name == "onnxruntime")
                for name in ("numpy", "onnxruntime")
            },
            "film_s": seconds,
            "film": rows,
            "quiet": [measure_quiet_stream(*run) for run in runs],
        }
    )


if __name__ == "__main__":
    main()
