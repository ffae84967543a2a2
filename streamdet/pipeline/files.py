"""The pipeline of a file: its events as they are found, and its scores on request."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from streamdet.audio.source import Source, SourceError
from streamdet.detection.decision import DecisionConfig
from streamdet.detection.engine import StreamProvider
from streamdet.detection.event import Detection, Event, ModelId
from streamdet.detection.window_scorer import WindowScorer
from streamdet.pipeline.channels import ChannelMode, ChannelPipelines
from streamdet.pipeline.source_pipeline import ScoreCallback


@dataclass(frozen=True)
class FileEvent:
    """An event of a file, and the scores around it as (time_s, score)."""

    event: Event
    scores: list[tuple[float, float]]


@dataclass(frozen=True)
class FilePipeline:
    """An engine, a decision and a verifier, if any, for one file after another."""

    engine: StreamProvider
    decision: DecisionConfig
    channels: ChannelMode = "auto"
    scorer: WindowScorer | None = None

    @property
    def model(self) -> ModelId:
        """The bundle in use."""
        return self.engine.model

    def analyse(
        self,
        source: Source,
        name: str,
        *,
        start_unix_s: float | None = None,
        scores_to: Path | None = None,
        on_scores: ScoreCallback | None = None,
        progress: Callable[[int], None] = lambda _: None,
        stopped: Callable[[], bool] = lambda: False,
    ) -> Iterator[FileEvent]:
        """The events of a source, in order, each once it has ended.

        ``start_unix_s``: UTC time of the first sample. ``scores_to``: where to write all scores,
        an .npz file. ``on_scores`` receives all scores as they are made, ``progress`` the number of
        samples of each block. ``stopped`` is asked after each block and ends the analysis.

        If the source fails, the events found so far are complete: the open event is closed and
        the scores are written. Then its SourceError is raised.
        """
        pipelines = ChannelPipelines(
            self.engine,
            self.decision,
            source.rate,
            source.channels,
            self.channels,
            keep_scores=scores_to is not None,
            on_scores=on_scores,
            scorer=self.scorer,
        )

        def file_events(detections: list[Detection]) -> Iterator[FileEvent]:
            for event in pipelines.final_events(detections, name, self.model, start_unix_s):
                yield FileEvent(event, pipelines.scores_around(event.detection))

        fault: SourceError | None = None
        try:
            try:
                for block in source.blocks():
                    yield from file_events(pipelines.feed(block))
                    progress(len(block.samples))
                    if stopped():
                        break
            except SourceError as error:
                fault = error
            yield from file_events(pipelines.finish())
        finally:
            pipelines.close()
        if scores_to is not None:
            pipelines.write_scores(scores_to)
        if fault is not None:
            raise fault
