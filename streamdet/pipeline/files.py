"""Files through the road: events as they are found, scores if they are wanted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from streamdet.audio.source import Source, SourceError
from streamdet.detection.decision import DecisionConfig
from streamdet.detection.engine import Engine
from streamdet.detection.event import Detection, Event, ModelId, event_id
from streamdet.pipeline.channels import ChannelMode, ChannelPipelines
from streamdet.pipeline.source_pipeline import ScoreCallback


@dataclass(frozen=True)
class FileEvent:
    """An event of a file, and the scores around it as (time_s, score)."""

    event: Event
    scores: list[tuple[float, float]]


@dataclass(frozen=True)
class FilePipeline:
    """An engine and a decision, ready for one file after another."""

    engine: Engine
    decision: DecisionConfig
    channels: ChannelMode = "auto"

    @property
    def model(self) -> ModelId:
        """Which bundle speaks."""
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
        """The final events of a source, in order.

        ``watch`` is told of all scores. Where the source fails, or ``stopped`` answers yes between
        two blocks, what is open is closed and what was heard is kept; the source's SourceError
        then goes on to the caller.
        """
        road = ChannelPipelines(
            self.engine,
            self.decision,
            source.rate,
            source.channels,
            self.channels,
            keep_scores=scores_to is not None,
            on_scores=on_scores,
        )
        fault: SourceError | None = None
        try:
            try:
                for block in source.blocks():
                    yield from self._finals(road, road.feed(block), name, start_unix_s)
                    progress(len(block.samples))
                    if stopped():
                        break
            except SourceError as error:
                fault = error
            yield from self._finals(road, road.finish(), name, start_unix_s)
        finally:
            road.close()
        if scores_to is not None:
            road.write_scores(scores_to)
        if fault is not None:
            raise fault

    def _finals(
        self, road: ChannelPipelines, found: list[Detection], name: str, start_unix_s: float | None
    ) -> Iterator[FileEvent]:
        rate = self.engine.grid.rate
        for d in found:
            if d.phase == "final":
                unix_s = None if start_unix_s is None else start_unix_s + d.onset / rate
                identity = event_id(road.source_key(name, d), self.model, d.onset, unix_s, rate)
                yield FileEvent(
                    Event(d, identity, name, rate, unix_s, self.model), road.scores_around(d)
                )
