"""streamdet from Python: a file's events one by one, or a detector that is fed arrays.

import streamdet

for event in streamdet.detect("movie.mkv"):
    print(event.onset_s, event.detection.rounds)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from streamdet.audio.source import Block, SourceError
from streamdet.detection.decision import DecisionConfig
from streamdet.detection.engine import Engine
from streamdet.detection.event import Event, event_id
from streamdet.model import bundle as bundles
from streamdet.model.bundle import Bundle, BundleError
from streamdet.pipeline import engine_choice
from streamdet.pipeline.channels import ChannelMode, ChannelPipelines, parse_channels
from streamdet.pipeline.files import FilePipeline
from streamdet.pipeline.platform import Platform

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

__all__ = ["BundleError", "Detector", "Event", "SourceError", "detect", "to_pandas"]


def detect(
    path: str | Path,
    *,
    model: str | Path | None = None,
    threshold: float | None = None,
    operating_point: str | None = None,
    channels: ChannelMode = "auto",
    track: str | None = None,
    start_s: float = 0.0,
    end_s: float | None = None,
    start_unix_s: float | None = None,
    platform: str = "auto",
) -> Iterator[Event]:
    """The events of a file, as they are found, in constant memory; films want the extra "media".

    ``model`` is a bundle's folder or a shipped one's name; ``threshold`` a probability, or
    ``operating_point`` one by name; ``channels`` says what of several is heard: "auto", their mean
    and the loudest at once; "mix", their mean; "each", all with events of their own; or one alone,
    from 1. ``track`` is a sound track by number from 1 or language. Times are in seconds of the
    file, and ``start_unix_s`` dates its first sample.

    Raises BundleError for a bundle, ValueError for an option, SourceError for a file that can't be
    heard; and, behind the events of what could be, SourceError with the reason "truncated".
    """
    from streamdet.audio import media

    bundle, decision = _ready(model, threshold, operating_point)
    source = media.open_media(Path(path), start_s, end_s, track)
    try:
        count = source.samples_to_read
        seconds = None if count is None else count / source.rate
        engine = engine_choice.file_engine(bundle, Platform(platform), seconds)
        listener = FilePipeline(engine, decision, parse_channels(str(channels)))
        for heard in listener.analyse(source, str(path), start_unix_s=start_unix_s):
            yield heard.event
    finally:
        source.close()


class Detector:
    """Hears what it is fed, in chunks of any size, as one stream.

        detector = streamdet.Detector(rate=48_000, channels=2)
        for chunk in chunks:              # (n, 2) float32 in [-1, 1], or (n,) for one channel
            for event in detector.feed(chunk):
                ...
        events = detector.finish()

    ``hear`` is what `detect` calls ``channels``; ``name`` is what events call the stream.
    Raises BundleError and ValueError.
    """

    def __init__(
        self,
        rate: int,
        channels: int = 1,
        *,
        model: str | Path | None = None,
        threshold: float | None = None,
        operating_point: str | None = None,
        hear: ChannelMode = "auto",
        name: str = "stream",
        platform: str = "auto",
    ) -> None:
        bundle, decision = _ready(model, threshold, operating_point)
        self._engine: Engine = engine_choice.live_engine(bundle, Platform(platform))
        self._road = ChannelPipelines(
            self._engine, decision, rate, channels, parse_channels(str(hear))
        )
        self._rate, self._channels, self._name, self._fed = rate, channels, name, 0
        self._over = False

    @property
    def seconds(self) -> float:
        """How much it was fed."""
        return self._fed / self._rate

    def feed(self, samples: np.ndarray) -> list[Event]:
        """``(n, channels)`` or, for one channel, ``(n,)`` samples; the events that are over by
        them. Raises ValueError for another shape, and behind `finish`."""
        import numpy as np

        block = np.asarray(samples, np.float32)
        block = block[:, None] if block.ndim == 1 else block
        if block.ndim != 2 or block.shape[1] != self._channels:
            raise ValueError(f"samples of shape {np.shape(samples)}; (n, {self._channels}) wanted")
        if self._over:
            raise ValueError("it is finished; begin with another Detector")
        found = self._road.feed(Block(self._fed, block))
        self._fed += len(block)
        return self._events(found)

    def finish(self) -> list[Event]:
        """The stream ends here: the events that were open."""
        if self._over:
            return []
        self._over = True
        found = self._road.finish()
        self._road.close()
        return self._events(found)

    def scores(self) -> Any:
        """(seconds (t,), gunshot probabilities (t,)) of the last 30 s of frames."""
        return self._road.recent_scores()

    def _events(self, found: list[Any]) -> list[Event]:
        name, rate, model = self._name, self._engine.grid.rate, self._engine.model
        finals = [d for d in found if d.phase == "final"]
        ids = [event_id(self._road.source_key(name, d), model, d.onset, None, rate) for d in finals]
        return [Event(d, i, name, rate, None, model) for d, i in zip(finals, ids, strict=True)]


def to_pandas(events: Iterable[Event]) -> pd.DataFrame:
    """Events as a table: the keys of docs/events.md, each label a column ``label_NAME``. Raises
    ImportError without pandas."""
    import pandas as pd

    rows = []
    for event in events:
        record = event.record()
        labels, model = record.pop("labels"), record.pop("model")
        record |= {f"label_{name}": score for name, score in labels.items()}
        rows.append(record | {"model": f"{model['name']}/{model['version']}"})
    return pd.DataFrame(rows)


def _ready(
    model: str | Path | None, threshold: float | None, point: str | None
) -> tuple[Bundle, DecisionConfig]:
    bundle = bundles.load(None if model is None else Path(model))
    if threshold is not None and point is not None:
        raise ValueError("threshold and operating_point: give one of them")
    if threshold is None:
        name = point or bundle.default_point
        if name not in bundle.operating_points:
            there = ", ".join(bundle.operating_points)
            raise ValueError(f"operating_point {name!r}: this bundle has {there}")
        threshold = bundle.operating_points[name].threshold
    if not 0.0 < threshold < 1.0:
        raise ValueError(f"threshold {threshold:g}: must be above 0 and below 1")
    return bundle, DecisionConfig(threshold)
