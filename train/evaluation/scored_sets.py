"""Score a set of scenes or single clips with a bundle, through the production engine.

A set is a folder with audio files in ``rare/``, ``film/``, ``city/`` or ``bursts/`` and a
``truth.csv`` with the true events (file, onset_s, offset_s, group, ebr_db and, if known, rounds).
For files in ``city/`` the column ebr_db has the distance in metres, if known. An optional
``contents.csv`` (file, onset_s, offset_s, role, label, path) lists the other sounds.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from streamdet.audio.file import FileSource
from streamdet.audio.resample import MonoResampler
from streamdet.audio.source import SourceError
from streamdet.detection import verification
from streamdet.detection.engine import Engine, frames_per_block
from streamdet.detection.frames import NO_LOG_MEL, FrameGrid, ScoredFrames
from streamdet.detection.jax_engine import JaxEngine
from streamdet.detection.window_scorer import create_scorer
from streamdet.model.bundle import Bundle
from train.data.checks import read_manifest
from train.data.corpus import read_exclusions
from train.data.mixtures import Mixture
from train.data.table import read_rows
from train.errors import TrainError
from train.evaluation.metrics import Span

KINDS = ("rare", "film", "city", "bursts")
BLOCK_S, CLIP_BLOCK_S = 5.12, 1.0
CLIP_LEAD_S = 0.4
"""Faint noise before each clip, because no recording begins with its sound at sample 0."""

SampleTransform = Callable[[np.ndarray], np.ndarray]
"""Processes a scene before it is scored: ``(n,) float32`` samples at 16 kHz to the same."""


class SceneSetError(TrainError):
    """The folder is not a set of scenes; the message says why."""


@dataclass(frozen=True)
class TrueEvent:
    """One true event: its span in seconds, its recording, its EBR in dB as written, its rounds."""

    span: Span
    group: str
    ebr_db: str
    rounds: int | None


@dataclass(frozen=True)
class SceneContent:
    """A labelled clip in a scene; ``role`` is ``bed`` or ``sound``."""

    span: Span
    role: str
    label: str
    path: str


class StageScores(NamedTuple):
    """The first stage's gunshot scores, (t,) float32, and the threshold of candidates. ``windows``
    is the number of windows that the verifier scored."""

    scores: np.ndarray
    candidate_threshold: float
    windows: int


@dataclass(frozen=True)
class ScoredFile:
    """The frame scores of one file, its true events and its other contents.

    With a verifier the gunshot scores of ``frames`` are final, and ``stage`` has those of the first
    stage.
    """

    name: str
    path: Path
    frames: ScoredFrames
    events: tuple[TrueEvent, ...]
    contents: tuple[SceneContent, ...]
    stage: StageScores | None = None

    @property
    def kind(self) -> str:
        """The kind of scene, one of KINDS."""
        return self.name.split("/")[0]

    @property
    def truth(self) -> tuple[Span, ...]:
        """The spans of the true events, in order."""
        return tuple(e.span for e in self.events)


@dataclass(frozen=True)
class ScoredClip:
    """One clip, scored alone; ``score`` is its highest gunshot probability."""

    path: str
    category: str
    label: str
    source: str
    group: str
    kind: str
    score: float


class SampleScorer:
    """Scores whole recordings with a bundle as serving does: with its verifier, if it has one,
    unless ``verify`` is False. ``grid`` is the bundle's frame grid."""

    def __init__(self, bundle: Bundle, block_s: float = BLOCK_S, *, verify: bool = True) -> None:
        self._engine = JaxEngine(bundle, block_frames=frames_per_block(bundle, block_s))
        self._verifier = create_scorer(bundle, verify=verify)
        self.grid = self._engine.grid

    def score(self, samples: np.ndarray) -> tuple[ScoredFrames, StageScores | None]:
        """Score ``(n,) float32`` samples from the initial state. With a verifier the gunshot scores
        are final, and those of the first stage come second."""
        frames, scorer = score_samples(self._engine, samples), self._verifier
        log_mel, frames = frames.log_mel, frames._replace(log_mel=NO_LOG_MEL)
        if scorer is None:
            return frames, None
        stage = frames.scores[:, 0].copy()
        if not len(stage):
            return frames, StageScores(stage, scorer.threshold, 0)
        _, final = verification.step(
            scorer, scorer.threshold, verification.init(scorer), [log_mel], stage, ending=True
        )
        scores = frames.scores.copy()
        scores[:, 0] = final.scores
        return frames._replace(scores=scores), StageScores(stage, scorer.threshold, final.windows)


def score_scenes(
    bundle: Bundle,
    folder: Path,
    transform: SampleTransform | None = None,
    *,
    verify: bool = True,
) -> list[ScoredFile]:
    """Score every file of a set, after ``transform`` if given, with the bundle's verifier unless
    ``verify`` is False.

    Raises SceneSetError if the folder is not a set or a file can't be read.
    """
    truth, contents = read_truth(folder), _read_contents(folder)
    paths = list_scenes(folder)
    scorer = SampleScorer(bundle, verify=verify)
    scored = []
    for path in paths:
        name = f"{path.parent.name}/{path.name}"
        samples = read_samples(path, scorer.grid.rate)
        frames, stage = scorer.score(samples if transform is None else transform(samples))
        events, others = tuple(truth.get(name, [])), tuple(contents.get(name, []))
        scored.append(ScoredFile(name, path, frames, events, others, stage))
    return scored


def score_mixtures(bundle: Bundle, mixtures: Iterable[Mixture]) -> list[ScoredFile]:
    """Score scenes as they are made. Their paths are names only."""
    scorer, scored = SampleScorer(bundle), []
    for mixture in mixtures:
        events = tuple(
            TrueEvent(
                (e.onset_s, e.offset_s), e.group, "" if e.ebr_db is None else f"{e.ebr_db:g}",
                e.rounds,
            )
            for e in mixture.truth
        )  # fmt: skip
        frames, stage = scorer.score(mixture.samples)
        scored.append(ScoredFile(mixture.name, Path(mixture.name), frames, events, (), stage))
    return scored


def first_stage_only(file: ScoredFile) -> ScoredFile:
    """The file with the gunshot scores of the first stage alone."""
    if file.stage is None:
        return file
    scores = file.frames.scores.copy()
    scores[:, 0] = file.stage.scores
    return replace(file, frames=file.frames._replace(scores=scores), stage=None)


def list_scenes(folder: Path) -> list[Path]:
    """The audio files of a set, sorted. Raises SceneSetError if there are none."""
    paths = sorted(p for kind in KINDS for p in (folder / kind).glob("*") if p.is_file())
    if not paths:
        raise SceneSetError(
            f"{folder}: no audio files. Put them into {', '.join(k + '/' for k in KINDS)}."
        )
    return paths


def score_clips(bundle: Bundle, data: Path, split: str, lead_s: float = 0.0) -> list[ScoredClip]:
    """Score every clip of a split alone, after ``lead_s`` seconds of faint noise.

    Mixtures and excluded clips are left out, and so are explosions, which count neither as shots
    nor as other sounds.
    """
    excluded = read_exclusions(data)
    rows = [
        row
        for row in read_manifest(data)
        if row["split"] == split
        and row["category"] not in ("mixture", "explosion")
        and row["path"] not in excluded
    ]
    scores = compute_peak_scores(bundle, [data / row["path"] for row in rows], lead_s)
    columns = ("path", "category", "label", "source", "origin_group", "kind")
    return [
        ScoredClip(*(row[c] for c in columns), score=score)
        for row, score in zip(rows, scores, strict=True)
    ]


def compute_peak_scores(bundle: Bundle, paths: Sequence[Path], lead_s: float = 0.0) -> list[float]:
    """Compute the highest gunshot probability of each file, scored as by `score_clips`."""
    scorer = SampleScorer(bundle, CLIP_BLOCK_S)
    noise = np.random.default_rng(5).standard_normal(round(lead_s * scorer.grid.rate))
    lead = noise.astype(np.float32) * np.float32(2e-5)
    peaks = []
    for path in paths:
        frames, _ = scorer.score(np.concatenate([lead, read_samples(path, scorer.grid.rate)]))
        peaks.append(float(frames.scores[:, 0].max(initial=0.0)))
    return peaks


def read_samples(path: Path, rate: int) -> np.ndarray:
    """Read a whole file as the detector receives it: ``(n,) float32``, mono, at ``rate`` Hz."""
    try:
        source = FileSource(path)
        converter = MonoResampler(source.rate, source.channels, rate)
        blocks = [converter.feed(block.samples) for block in source.blocks()]
    except SourceError as error:
        raise SceneSetError(str(error)) from error
    source.close()
    return np.concatenate([*blocks, converter.finish()])


def score_samples(engine: Engine, samples: np.ndarray) -> ScoredFrames:
    """Score ``(n,) float32`` samples from the engine's initial state."""
    stream = engine.stream()
    frames = stream.feed(samples) + stream.finish()
    if not frames:
        none = np.zeros((0, 1), np.float32)
        return ScoredFrames(none, none, none)
    return ScoredFrames(*(np.concatenate(column) for column in zip(*frames, strict=True)))


def write_frame_scores(path: Path, grid: FrameGrid, files: Iterable[ScoredFile]) -> None:
    """Write frame scores as the benchmark's score.py reads them, one JSON line for each file."""
    hop = grid.frame / grid.rate
    with path.open("w") as sink:
        for file in files:
            scores = file.frames.scores[:, 0]
            frames = [[round(i * hop, 3), round(float(p), 5)] for i, p in enumerate(scores)]
            sink.write(json.dumps({"file": file.name, "win": hop, "frames": frames}) + "\n")


def group_by_kind(files: Sequence[ScoredFile]) -> dict[str, list[ScoredFile]]:
    """Group files by ``kind``, in the order of KINDS."""
    kinds: dict[str, list[ScoredFile]] = defaultdict(list)
    for file in files:
        kinds[file.kind].append(file)
    return {kind: kinds[kind] for kind in KINDS if kind in kinds}


def read_truth(folder: Path) -> dict[str, list[TrueEvent]]:
    """Read the true events of a set, by file. Raises SceneSetError without a ``truth.csv``."""
    path = folder / "truth.csv"
    if not path.is_file():
        raise SceneSetError(
            f"{path}: no such file. Give a set of scenes, e.g. from `python -m train mixtures`."
        )
    truth: dict[str, list[TrueEvent]] = defaultdict(list)
    for row in read_rows(path):
        span = (float(row["onset_s"]), float(row["offset_s"]))
        rounds = int(row["rounds"]) if row.get("rounds") else None
        truth[row["file"]].append(TrueEvent(span, row["group"], row["ebr_db"], rounds))
    return truth


def _read_contents(folder: Path) -> dict[str, list[SceneContent]]:
    path = folder / "contents.csv"
    contents: dict[str, list[SceneContent]] = defaultdict(list)
    for row in read_rows(path) if path.is_file() else ():
        span = (float(row["onset_s"]), float(row["offset_s"]))
        contents[row["file"]].append(SceneContent(span, row["role"], row["label"], row["path"]))
    return contents
