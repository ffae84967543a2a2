"""The roads of one source of several channels: which of them are heard, and how."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np

from streamdet.audio.source import Block
from streamdet.detection.decision import DecisionConfig
from streamdet.detection.engine import Engine
from streamdet.detection.event import Detection
from streamdet.pipeline.source_pipeline import ScoreCallback, SourcePipeline

ChannelMode = int | Literal["auto", "mix", "each"]
"""What of several channels is heard: one, from 1; "mix", their mean; "auto", their mean and the
loudest at once; "each" alone, with events of its own."""


def parse_channels(text: str) -> ChannelMode:
    """`Channels` from what somebody wrote; raises ValueError."""
    match text:
        case "auto" | "mix" | "each":
            return text
        case _ if text.isascii() and text.isdigit() and int(text):
            return int(text)
        case _:
            raise ValueError(f"{text!r} is none of auto, mix, each, or a channel's number from 1")


MARGIN_S = 0.2
"""Seconds before an event and after it of which `scores_around` gives the scores."""


class ChannelPipelines:
    """A source's roads: one, or one for each of its channels."""

    def __init__(
        self,
        engine: Engine,
        decision: DecisionConfig,
        rate: int,
        channels: int,
        mode: ChannelMode,
        *,
        keep_scores: bool = False,
        on_scores: ScoreCallback | None = None,
    ) -> None:
        numbers = {"auto": [None], "mix": [None], "each": list(range(1, channels + 1))}
        self._each = mode == "each"
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
            )
            for number in (numbers[mode] if isinstance(mode, str) else [mode])
        ]

    def feed(self, block: Block) -> list[Detection]:
        """The detections that this block completes, in the order in which they were over."""
        return self._in_order([d for road in self._pipelines for d in road.feed(block)])

    def finish(self) -> list[Detection]:
        """The source ends here."""
        return self._in_order([d for road in self._pipelines for d in road.finish()])

    def source_key(self, name: str, detection: Detection) -> str:
        """What the id of an event names its source: with the channel where each has its own."""
        return f"{name}\0{detection.channel}" if self._each else name

    def close(self) -> None:
        """Let go of what they hold."""
        for road in self._pipelines:
            road.close()

    def scores_around(self, detection: Detection) -> list[tuple[float, float]]:
        """(time_s, gunshot score) around a detection, of the channel that it is in."""
        pipeline = self._pipelines[int(detection.channel or 1) - 1 if self._each else 0]
        return pipeline.history.around(detection, MARGIN_S)

    def recent_scores(self) -> tuple[np.ndarray, np.ndarray]:
        """(seconds (t,), gunshot scores (t,) float32) of the last 30 s: of channels that are heard
        each for itself the highest."""
        times, scores = zip(*(road.history.recent() for road in self._pipelines), strict=True)
        return times[0], np.maximum.reduce(scores)

    def write_scores(self, path: Path) -> None:
        """Into ``path``, or a file for each channel beside it, ``<stem>.<channel>.npz``."""
        path.parent.mkdir(parents=True, exist_ok=True)
        for number, road in enumerate(self._pipelines, 1):
            to = path.with_name(f"{path.stem}.{number}.npz") if self._each else path
            times, scores = road.scores()
            np.savez_compressed(to, times_s=times, scores=scores, labels=np.array(road.grid.labels))

    def _in_order(self, found: list[Detection]) -> list[Detection]:
        return sorted(found, key=lambda d: d.detected) if self._each else found
