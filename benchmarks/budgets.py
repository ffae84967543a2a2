"""The cost of a budget of false alarms: its share of a live pipeline's time, and its memory over
simulated days.

The busy stream is the first val reel in .cache/val (`python -m train mixtures .cache/val`). It is
left out if it does not exist.
"""

from __future__ import annotations

import pickle
import time
from dataclasses import replace
from typing import Any

import numpy as np
import soundfile

from benchmarks.measure import ONE_CORE, ROOT, limit_cores, print_json, round_digits, summarise
from streamdet.audio.source import Block
from streamdet.constants import RATE
from streamdet.detection import adaptive_threshold
from streamdet.detection.background import EventSpan, logit
from streamdet.detection.decision import DecisionConfig
from streamdet.detection.event import Detection
from streamdet.detection.false_alarm_rate import DAY_S
from streamdet.detection.frames import FrameGrid
from streamdet.detection.window_scorer import create_scorer
from streamdet.model import bundle as bundles
from streamdet.model.bundle import Bundle
from streamdet.pipeline import engine_choice
from streamdet.pipeline.budget_threshold import BudgetThreshold, set_up_budget
from streamdet.pipeline.platform import Platform
from streamdet.pipeline.source_pipeline import SourcePipeline

REEL = ROOT / ".cache" / "val" / "film" / "000.flac"
REPEATS, STREAM_S = 5, 600
BUDGET = 1.0 / DAY_S
DAYS, STEPS_A_DAY, EVENTS_AN_HOUR = 7, 24, 6
CORES: int | None = 1
ENVIRONMENT = ONE_CORE


class TimedBudget(BudgetThreshold):
    """A budget that adds up the time that it takes."""

    spent_s = 0.0

    def add(
        self,
        grid: FrameGrid,
        scores: np.ndarray,
        detections: list[Detection],
        *,
        event_open: bool,
        base: int = 0,
    ) -> None:
        """Add scores and detections, as `BudgetThreshold` does."""
        began = time.perf_counter()
        super().add(grid, scores, detections, event_open=event_open, base=base)
        self.spent_s += time.perf_counter() - began


def measure_stream(bundle: Bundle, name: str, samples: np.ndarray) -> dict[str, Any]:
    """The time of a live pipeline with a budget, as a share of real time, and the share of that
    time which the budget takes, in percent."""
    size = round(engine_choice.LIVE_BLOCK_S * RATE)
    shares, percents = [], []
    with limit_cores(1):
        for _ in range(REPEATS):
            budget = TimedBudget(set_up_budget(bundle, BUDGET))
            pipeline = SourcePipeline(
                engine_choice.live_engine(bundle, Platform.numpy),
                DecisionConfig(0.5), RATE, 1, scorer=create_scorer(bundle), budget=budget,
            )  # fmt: skip
            began = time.perf_counter()
            for start in range(0, len(samples), size):
                pipeline.feed(Block(start, samples[start : start + size, None]))
            spent = time.perf_counter() - began
            shares.append(spent * RATE / len(samples))
            percents.append(100.0 * budget.spent_s / spent)
    return {"stream": name, "share_of_core": summarise(shares), "percent": summarise(percents)}


def measure_estimate(bundle: Bundle) -> dict[str, float]:
    """The time of one estimate, which is made once a minute, in milliseconds."""
    setup = set_up_budget(bundle, BUDGET)
    state = adaptive_threshold.init(setup.config, setup.prior)
    spent = []
    for _ in range(50):
        began = time.perf_counter()
        adaptive_threshold.update(setup.config, state)
        spent.append(1e3 * (time.perf_counter() - began))
    return summarise(spent)


def measure_memory(bundle: Bundle) -> list[dict[str, float]]:
    """The size of the state over simulated days, in kilobytes, with events all the time."""
    setup = set_up_budget(bundle, BUDGET)
    config = replace(setup.config, interval_s=3_600.0)
    source, rng = BudgetThreshold(setup), np.random.default_rng(1)
    state, rows = source.state, []
    frames = round(DAY_S / STEPS_A_DAY / EVENTS_AN_HOUR / config.background.frame_s)
    for step in range(DAYS * STEPS_A_DAY * EVENTS_AN_HOUR):
        scores = 1.0 / (1.0 + np.exp(7.0 - rng.exponential(1.0, frames)))
        first = step * frames
        span = EventSpan(first, first + 10, float(logit(0.9)), first)
        state = adaptive_threshold.step(
            config, state, scores.astype(np.float32), [span], event_open=False
        )
        if (step + 1) % EVENTS_AN_HOUR == 0:
            days = (step + 1) / EVENTS_AN_HOUR / STEPS_A_DAY
            rows.append({"days": days, "kb": len(pickle.dumps(state)) / 1e3})
    return rows


def main() -> None:
    """Print the results as JSON."""
    bundle = bundles.load()
    noise = np.random.default_rng(1).standard_normal(STREAM_S * RATE).astype(np.float32) * 1e-3
    streams = [("quiet", noise)]
    if REEL.is_file():
        streams.append(
            (
                "film",
                np.asarray(soundfile.read(REEL, dtype="float32")[0], np.float32)[: STREAM_S * RATE],
            )
        )
    memory = measure_memory(bundle)
    print_json(
        {
            "streams": [measure_stream(bundle, *stream) for stream in streams],
            "estimate_ms": measure_estimate(bundle),
            "events_an_hour": EVENTS_AN_HOUR,
            "memory": [{k: round_digits(v) for k, v in row.items()} for row in memory],
        }
    )


if __name__ == "__main__":
    main()
