"""The pipeline of a file: its events as they are found, and its scores on request."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from streamdet.audio.source import Source, SourceError
from streamdet.detection.decision import DecisionConfig
from streamdet.detection.engine import StreamProvider
from streamdet.detection.event import Detection, Event, ModelId
from streamdet.detection.window_scorer import WindowScorer
from streamdet.pipeline.budget_threshold import BudgetSetup
from streamdet.pipeline.channels import ChannelMode, ChannelPipelines
from streamdet.pipeline.file_threshold import choose_file_threshold
from streamdet.pipeline.source_pipeline import ScoreCallback


@dataclass(frozen=True)
class FileEvent:
    """An event of a file, and the scores around it as (time_s, score)."""

    event: Event
    scores: list[tuple[float, float]]


@dataclass(frozen=True)
class FilePipeline:
    """An engine, a decision and a verifier, if any, for one file after another.

    With a ``budget`` of false alarms, `with_file_threshold` replaces the decision's threshold for
    each file.
    """

    engine: StreamProvider
    decision: DecisionConfig
    channels: ChannelMode = "auto"
    scorer: WindowScorer | None = None
    budget: BudgetSetup | None = None

    @property
    def model(self) -> ModelId:
        """The bundle in use."""
        return self.engine.model

    def with_file_threshold(
        self,
        source: Source,
        *,
        progress: Callable[[int], None] = lambda _: None,
        stopped: Callable[[], bool] = lambda: False,
    ) -> FilePipeline:
        """This pipeline with the threshold of a file's own background, the first of two passes.

        Without a budget it reads nothing. The second pass needs the source opened again. A fault of
        the source ends this pass, and the second one raises it.
        """
        if self.budget is None:
            return self
        pipelines = ChannelPipelines(
            self.engine, self.decision, source.rate, source.channels, self.channels,
            keep_scores=True, scorer=self.scorer,
        )  # fmt: skip
        try:
            with suppress(SourceError):
                for block in source.blocks():
                    pipelines.feed(block)
                    progress(len(block.samples))
                    if stopped():
                        break
            pipelines.finish()
        finally:
            pipelines.close()
        threshold = choose_file_threshold(self.budget, pipelines.gunshot_scores())
        return replace(self, decision=replace(self.decision, threshold=threshold), budget=None)

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
