"""The pipelines of a source with several channels: one for a mix, or one for each channel."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np

from streamdet.audio.source import Block
from streamdet.detection.decision import DecisionConfig
from streamdet.detection.engine import StreamProvider
from streamdet.detection.event import Detection, Event, ModelId, event_from_detection
from streamdet.detection.window_scorer import WindowScorer
from streamdet.pipeline.budget_threshold import BudgetSetup, BudgetThreshold
from streamdet.pipeline.source_pipeline import ScoreCallback, SourcePipeline

ChannelMode = int | Literal["auto", "mix", "each"]
"""How to analyse several channels: "auto" takes their mean and the loudest channel at once, "mix"
their mean, "each" every channel with its own events, a number that channel alone, from 1."""


def parse_channels(text: str) -> ChannelMode:
    """Parse a `ChannelMode`. Raises ValueError."""
    match text:
        case "auto" | "mix" | "each":
            return text
        case _ if text.isascii() and text.isdigit() and int(text):
            return int(text)
        case _:
            raise ValueError(f"{text!r} is not auto, mix, each, or a channel number from 1")


MARGIN_S = 0.2
"""Seconds before and after an event that `ChannelPipelines.scores_around` includes."""


class ChannelPipelines:
    """The `SourcePipeline` of a source, or one for each of its channels.

    With a ``budget``, the threshold of each follows from its own background. They share the budget.
    """

    def __init__(
        self,
        engine: StreamProvider,
        decision: DecisionConfig,
        rate: int,
        channels: int,
        mode: ChannelMode,
        *,
        keep_scores: bool = False,
        on_scores: ScoreCallback | None = None,
        scorer: WindowScorer | None = None,
        budget: BudgetSetup | None = None,
    ) -> None:
        numbers = {"auto": [None], "mix": [None], "each": list(range(1, channels + 1))}
        self._each = mode == "each"
        setup = None if budget is None else budget.shared_by(channels if self._each else 1)
        self._pipelines = [
            SourcePipeline(
                engine,
                decision,
                rate,
                channels,
                number,
                keep_scores=keep_scores,
                loudest=mode == "auto",
                on_scores=on_scores,
                scorer=scorer,
                budget=None if setup is None else BudgetThreshold(setup),
            )
            for number in (numbers[mode] if isinstance(mode, str) else [mode])
        ]

    def feed(self, block: Block) -> list[Detection]:
        """The detections that this block completes, in order of detection."""
        return self._in_order([d for p in self._pipelines for d in p.feed(block)])

    def finish(self) -> list[Detection]:
        """End the source; returns the remaining detections."""
        return self._in_order([d for p in self._pipelines for d in p.finish()])

    def final_events(
        self,
        detections: list[Detection],
        name: str,
        model: ModelId,
        start_unix_s: float | None = None,
    ) -> list[Event]:
        """The events of the final detections, without those that the verifier refused.

        ``start_unix_s``: UTC time of sample 0.
        """
        rate = self._pipelines[0].grid.rate
        return [
            event_from_detection(
                d,
                source=name,
                model=model,
                rate=rate,
                unix_s=None if start_unix_s is None else start_unix_s + d.onset / rate,
                separate_channels=self._each,
            )
            for d in detections
            if d.phase == "final" and d.verified is not False
        ]

    def close(self) -> None:
        """Release the streams of the engine."""
        for pipeline in self._pipelines:
            pipeline.close()

    def scores_around(self, detection: Detection) -> list[tuple[float, float]]:
        """(time_s, gunshot score) around a detection, in its channel."""
        pipeline = self._pipelines[int(detection.channel or 1) - 1 if self._each else 0]
        return pipeline.history.around(detection, MARGIN_S)

    def recent_scores(self) -> tuple[np.ndarray, np.ndarray]:
        """Times (t,) in seconds and gunshot scores (t,) float32 of the last 30 s; with "each", the
        maximum over the channels."""
        times, scores = zip(*(p.history.recent() for p in self._pipelines), strict=True)
        return times[0], np.maximum.reduce(scores)

    def gunshot_scores(self) -> list[np.ndarray]:
        """All gunshot scores with ``keep_scores``: (t,) float32 of each pipeline."""
        return [pipeline.scores()[1][:, 0] for pipeline in self._pipelines]

    def write_scores(self, path: Path) -> None:
        """Write all scores to ``path``, or with "each" to ``<stem>.<channel>.npz`` beside it."""
        path.parent.mkdir(parents=True, exist_ok=True)
        for number, pipeline in enumerate(self._pipelines, 1):
            to = path.with_name(f"{path.stem}.{number}.npz") if self._each else path
            times, scores = pipeline.scores()
            labels = np.array(pipeline.grid.labels)
            np.savez_compressed(to, times_s=times, scores=scores, labels=labels)

    def _in_order(self, detections: list[Detection]) -> list[Detection]:
        return sorted(detections, key=lambda d: d.detected) if self._each else detections
