"""The Python API: detect the events of a file, or feed arrays to a detector.

import streamdet

for event in streamdet.detect("movie.mkv"):
    print(event.onset_s, event.detection.rounds)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from streamdet.audio.source import Block, SourceError
from streamdet.budget import parse_budget
from streamdet.detection.background_format import BackgroundError
from streamdet.detection.decision import DecisionConfig
from streamdet.detection.engine import Engine
from streamdet.detection.event import Detection, Event
from streamdet.detection.operating_point import choose_threshold
from streamdet.model import bundle as bundles
from streamdet.model.bundle import Bundle, BundleError
from streamdet.pipeline import engine_choice
from streamdet.pipeline.budget_threshold import BudgetSetup, set_up_budget
from streamdet.pipeline.channels import ChannelMode, ChannelPipelines, parse_channels
from streamdet.pipeline.files import FilePipeline
from streamdet.pipeline.platform import Platform

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["BundleError", "Detector", "Event", "SourceError", "detect", "to_pandas"]


def detect(
    path: str | Path,
    *,
    model: str | Path | None = None,
    threshold: float | None = None,
    operating_point: str | None = None,
    false_alarms: str | None = None,
    channels: ChannelMode = "auto",
    track: str | None = None,
    start_s: float = 0.0,
    end_s: float | None = None,
    start_unix_s: float | None = None,
    verify: bool = True,
    platform: str = "auto",
) -> Iterator[Event]:
    """Yield the events of a file as they are found, in constant memory.

    Films and other containers need the extra "media".

    Args:
        path: The file.
        model: The folder of a bundle, or the name of a shipped one. Default: the shipped default.
        threshold: The score that opens an event, between 0 and 1.
        operating_point: A named threshold of the bundle, instead of ``threshold``.
        false_alarms: How many false alarms to allow, such as "1/day", instead of ``threshold``. The
            file is read twice, first for the threshold of its own background.
        channels: "auto" analyses the mean of all channels and the loudest channel together;
            "mix" the mean; "each" every channel on its own; a number one channel, from 1.
        track: The audio track, by number from 1 or by language code.
        start_s: Where to start, in seconds of the file.
        end_s: Where to stop, in seconds of the file. Default: its end.
        start_unix_s: The UTC time of the first sample of the file, for `Event.unix_s`.
        verify: Whether the bundle's verifier, if it has one, scores each candidate.
        platform: "auto", "numpy", "onnx", "cpu", "gpu" or "tpu".

    Raises:
        BundleError: The bundle is missing or invalid.
        ValueError: An option is invalid.
        SourceError: The file cannot be read. With the reason "truncated" the file is damaged or
            incomplete, and the error follows the events of the part that could be decoded.
    """
    from streamdet.audio import media

    bundle, decision, budget = _load(model, threshold, operating_point, false_alarms, verify)
    source = media.open_media(Path(path), start_s, end_s, track)
    try:
        count = source.samples_to_read
        seconds = None if count is None else count / source.rate
        engine = engine_choice.file_engine(bundle, Platform(platform), seconds)
        scorer = engine_choice.scorer_for(bundle, engine, verify=verify)
        pipeline = FilePipeline(engine, decision, parse_channels(str(channels)), scorer, budget)
        if budget is not None:
            with closing(media.open_media(Path(path), start_s, end_s, track)) as first_pass:
                pipeline = pipeline.with_file_threshold(first_pass)
        for found in pipeline.analyse(source, str(path), start_unix_s=start_unix_s):
            yield found.event
    finally:
        source.close()


class Detector:
    """Detects events in a stream of arrays, given in chunks of any size.

        detector = streamdet.Detector(rate=48_000, channels=2)
        for chunk in chunks:              # (n, 2) float32 in [-1, 1], or (n,) for one channel
            for event in detector.feed(chunk):
                ...
        events = detector.finish()

    The events do not depend on the sizes of the chunks.

    Args:
        rate: The sample rate in Hz.
        channels: The number of channels.
        hear: Which channels to analyse, as the argument ``channels`` of `detect`.
        name: The source name in the events.
        false_alarms: How many false alarms to allow, such as "1/day". The threshold follows from
            the background of the stream so far, as that of a live source does.
        model, threshold, operating_point, verify, platform: As for `detect`.

    Raises:
        BundleError: The bundle is missing or invalid.
        ValueError: An option is invalid.
    """

    def __init__(
        self,
        rate: int,
        channels: int = 1,
        *,
        model: str | Path | None = None,
        threshold: float | None = None,
        operating_point: str | None = None,
        false_alarms: str | None = None,
        hear: ChannelMode = "auto",
        name: str = "stream",
        verify: bool = True,
        platform: str = "auto",
    ) -> None:
        bundle, decision, budget = _load(model, threshold, operating_point, false_alarms, verify)
        self._engine: Engine = engine_choice.live_engine(bundle, Platform(platform))
        scorer = engine_choice.scorer_for(bundle, self._engine, verify=verify)
        self._pipelines = ChannelPipelines(
            self._engine, decision, rate, channels, parse_channels(str(hear)), scorer=scorer,
            budget=budget,
        )  # fmt: skip
        self._rate, self._channels, self._name = rate, channels, name
        self._samples = 0
        self._finished = False

    @property
    def seconds(self) -> float:
        """Seconds of audio fed so far."""
        return self._samples / self._rate

    def feed(self, samples: np.ndarray) -> list[Event]:
        """Analyse ``(n, channels)`` samples, or ``(n,)`` for one channel.

        Returns the events that ended in them. Raises ValueError for another shape, and after
        `finish`.
        """
        block = np.asarray(samples, np.float32)
        block = block[:, None] if block.ndim == 1 else block
        if block.ndim != 2 or block.shape[1] != self._channels:
            raise ValueError(
                f"samples have the shape {np.shape(samples)}; expected (n, {self._channels})"
            )
        if self._finished:
            raise ValueError("this Detector is finished; create another one")
        detections = self._pipelines.feed(Block(self._samples, block))
        self._samples += len(block)
        return self._events(detections)

    def finish(self) -> list[Event]:
        """End the stream. Returns the events that were still open."""
        if self._finished:
            return []
        self._finished = True
        detections = self._pipelines.finish()
        self._pipelines.close()
        return self._events(detections)

    def scores(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the scores of the last 30 s of frames.

        Two arrays: the start of each frame in seconds, ``(t,) float64``, and its gunshot
        probability, ``(t,) float32``.
        """
        return self._pipelines.recent_scores()

    def _events(self, detections: list[Detection]) -> list[Event]:
        return self._pipelines.final_events(detections, self._name, self._engine.model)


def to_pandas(events: Iterable[Event]) -> pd.DataFrame:
    """Return events as a table with the keys of docs/events.md as columns.

    Each label has a column ``label_NAME``. Raises ImportError without pandas (the extra "pandas").
    """
    import pandas as pd

    rows = []
    for event in events:
        record = event.record()
        labels, model = record.pop("labels"), record.pop("model")
        record |= {f"label_{name}": score for name, score in labels.items()}
        rows.append(record | {"model": f"{model['name']}/{model['version']}"})
    return pd.DataFrame(rows)


def _load(
    model: str | Path | None,
    threshold: float | None,
    operating_point: str | None,
    false_alarms: str | None,
    verify: bool,
) -> tuple[Bundle, DecisionConfig, BudgetSetup | None]:
    bundle = bundles.load(None if model is None else Path(model))
    budget = None
    if false_alarms is not None:
        if threshold is not None or operating_point is not None:
            raise ValueError("false_alarms: give it without threshold and operating_point")
        try:
            budget = set_up_budget(bundle, parse_budget(false_alarms), verify=verify)
        except BackgroundError as error:
            raise BundleError(f"{bundle.name}: {error}") from error
    chosen = choose_threshold(bundle, threshold, operating_point, verify=verify)
    return bundle, DecisionConfig(chosen), budget
