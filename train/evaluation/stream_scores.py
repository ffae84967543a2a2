"""Score a long stream once, keep its frames on disk, and replay them through the serving pipeline.

`score_stream` runs the engine. `replay` runs everything after it, `SourcePipeline` with the second
stage, the decision and, if there is one, the budget, as often as one likes. Windows of the second
stage that were scored before are not scored again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from streamdet.audio.source import Block
from streamdet.detection.decision import DecisionConfig
from streamdet.detection.engine import ScoreStream, frames_per_block
from streamdet.detection.event import ModelId
from streamdet.detection.frames import FrameGrid, ScoredFrames
from streamdet.detection.jax_engine import JaxEngine
from streamdet.detection.window_scorer import WindowScorer
from streamdet.model.bundle import Bundle
from streamdet.model.config import FrontendConfig
from streamdet.pipeline.budget_threshold import BudgetThreshold
from streamdet.pipeline.source_pipeline import SourcePipeline
from train.data.mixtures import MixtureEvent
from train.data.places import StreamPart
from train.evaluation.metrics import Alarm, Span

BLOCK_S, ENGINE_BLOCK_S = 4.0, 5.12
"""Seconds of a block that is replayed, and of one that the engine scores."""
_TYPES = {"scores": np.float32, "flux": np.float32, "level": np.float32, "log_mel": np.float16}


@dataclass(frozen=True)
class ScoredStream:
    """The frames of the first stage, as `ScoredFrames` has them, ``frame_s`` seconds each, and the
    true events."""

    frame_s: float
    scores: np.ndarray
    flux: np.ndarray
    level: np.ndarray
    log_mel: np.ndarray
    truth: tuple[MixtureEvent, ...]

    def __len__(self) -> int:
        return len(self.level)

    @property
    def seconds(self) -> float:
        """The length of the stream."""
        return len(self) * self.frame_s

    @property
    def spans(self) -> list[Span]:
        """The true events in seconds."""
        return [(event.onset_s, event.offset_s) for event in self.truth]

    def cut(self, first: int, last: int) -> ScoredStream:
        """The frames from ``first`` to ``last - 1``, without true events."""
        columns = (self.scores, self.flux, self.level, self.log_mel)
        return ScoredStream(self.frame_s, *(x[first:last] for x in columns), truth=())

    def read(self, first: int, last: int) -> ScoredFrames:
        """The frames from ``first`` to ``last - 1``."""
        columns = (self.scores, self.flux, self.level, self.log_mel)
        return ScoredFrames(*(np.asarray(x[first:last], np.float32) for x in columns))


def score_stream(bundle: Bundle, parts: Iterable[StreamPart], to: Path) -> ScoredStream:
    """Score the parts of one stream, one after another, and write the frames into a folder.

    A folder that is complete is read instead.
    """
    index = to / "stream.json"
    if index.is_file():
        return _read_stream(to)
    to.mkdir(parents=True, exist_ok=True)
    engine = JaxEngine(bundle, block_frames=frames_per_block(bundle, ENGINE_BLOCK_S))
    stream, truth, frames = engine.stream(), [], 0
    shapes: dict[str, list[int]] = {}
    sinks = {name: (to / name).open("wb") for name in _TYPES}

    def write(scored: list[ScoredFrames]) -> int:
        for name, sink in sinks.items():
            for each in scored:
                values = np.asarray(getattr(each, name), _TYPES[name])
                shapes[name] = list(values.shape[1:])
                sink.write(values.tobytes())
        return sum(len(each.level) for each in scored)

    for part in parts:
        frames += write(stream.feed(part.samples))
        truth += part.truth
    frames += write(stream.finish())
    stream.close()
    for sink in sinks.values():
        sink.close()
    record = {
        "frames": frames,
        "frame_s": engine.grid.frame / engine.grid.rate,
        "shapes": shapes,
        "truth": [asdict(event) for event in truth],
    }
    index.write_text(json.dumps(record))
    return _read_stream(to)


def _read_stream(folder: Path) -> ScoredStream:
    record = json.loads((folder / "stream.json").read_text())
    columns = {
        name: np.memmap(folder / name, kind, "r", shape=(record["frames"], *record["shapes"][name]))
        for name, kind in _TYPES.items()
    }
    truth = tuple(MixtureEvent(**row) for row in record["truth"])
    return ScoredStream(frame_s=record["frame_s"], **columns, truth=truth)


def join_streams(streams: Sequence[ScoredStream]) -> ScoredStream:
    """The frames of streams one after another, without true events."""
    names = ("scores", "flux", "level", "log_mel")
    columns = [np.concatenate([getattr(s, name) for s in streams]) for name in names]
    return ScoredStream(streams[0].frame_s, *columns, truth=())


class CachedScorer(WindowScorer):
    """A scorer that remembers the windows that it has scored."""

    def __init__(self, bundle: Bundle) -> None:
        """Raises ValueError if the bundle has no verifier."""
        if bundle.verifier is None or not isinstance(bundle.frontend, FrontendConfig):
            raise ValueError(f"{bundle.name} has no second stage")
        super().__init__(bundle.frontend, bundle.verifier)
        self._known: dict[bytes, np.ndarray] = {}

    def score_windows(self, log_mel: np.ndarray, starts: list[int]) -> np.ndarray:
        """Score the windows that begin at ``starts``, as `WindowScorer` does."""
        windows = [log_mel[at : at + self.config.window] for at in starts]
        keys = [hashlib.blake2b(window.tobytes(), digest_size=16).digest() for window in windows]
        new = [i for i, key in enumerate(keys) if key not in self._known]
        if new:
            scored = super().score_windows(log_mel, [starts[i] for i in new])
            self._known |= {keys[i]: row for i, row in zip(new, scored, strict=True)}
        return np.stack([self._known[key] for key in keys])


class Replay(NamedTuple):
    """What a replay reports: all events as (onset_s, offset_s, score), with the threshold of each;
    the final gunshot scores (t,), and the threshold in force after each block."""

    alarms: list[Alarm]
    scores: np.ndarray
    thresholds: list[float]


def replay(
    bundle: Bundle,
    stream: ScoredStream,
    scorer: WindowScorer | None,
    threshold: float | BudgetThreshold,
    *,
    on_block: Callable[[float], None] | None = None,
) -> Replay:
    """Run the pipeline on the frames of a stream, from its initial state, with a fixed threshold or
    a budget. ``on_block`` is called with the seconds so far."""
    engine = _StoredEngine(bundle, stream)
    rate, budget = engine.grid.rate, threshold if isinstance(threshold, BudgetThreshold) else None
    fixed = 0.5 if isinstance(threshold, BudgetThreshold) else threshold
    pipeline = SourcePipeline(
        engine, DecisionConfig(fixed), rate, 1, keep_scores=True, scorer=scorer, budget=budget
    )
    size = round(BLOCK_S * rate)
    block, found, thresholds = np.zeros((size, 1), np.float32), [], []
    total = len(stream) * engine.grid.frame
    for start in range(0, total, size):
        found += pipeline.feed(Block(start, block[: total - start]))
        thresholds.append(pipeline.config.threshold)
        if on_block is not None:
            on_block(min(start + size, total) / rate)
    found += pipeline.finish()
    pipeline.close()
    alarms = [
        (d.onset / rate, d.offset / rate, d.score)
        for d in found
        if d.phase == "final" and d.offset is not None and d.verified is not False
    ]
    return Replay(alarms, pipeline.scores()[1][:, 0], thresholds)


class _StoredEngine:
    """Opens streams that return stored frames, as many as the samples that they are fed."""

    shared = False

    def __init__(self, bundle: Bundle, stream: ScoredStream) -> None:
        front, model = bundle.frontend, bundle.model
        self.grid = FrameGrid(front.sample_rate, front.hop, model.stride, model.labels)
        self.model = ModelId(bundle.name, bundle.version, bundle.sha256)
        self._stored = stream

    def warm_up(self) -> None:
        """There is nothing to do."""

    def stream(self) -> ScoreStream:
        return _StoredStream(self.grid, self._stored)


class _StoredStream(ScoreStream):
    def __init__(self, grid: FrameGrid, stored: ScoredStream) -> None:
        self._grid, self._stored = grid, stored
        self._samples = self._returned = 0

    @property
    def samples_needed(self) -> int:
        return self._grid.frame - self._samples % self._grid.frame

    def feed(self, samples: np.ndarray) -> list[ScoredFrames]:
        self._samples += len(samples)
        first, self._returned = self._returned, self._samples // self._grid.frame
        if first == self._returned:
            return []
        return [self._stored.read(first, self._returned)]

    def finish(self) -> list[ScoredFrames]:
        return []


def hash_recipe(recipe: Mapping[str, object]) -> str:
    """A short name for what a stream is made of."""
    return hashlib.sha256(repr(sorted(recipe.items())).encode()).hexdigest()[:12]
