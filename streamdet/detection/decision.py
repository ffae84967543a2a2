"""Scores to detections: hysteresis, bursts and rounds, as a pure step that carries its state.

An event opens when the gunshot score reaches the threshold. Its onset is placed at the sharpest
rise of the sound in the look-back window. The event closes when the score has stayed below
``threshold - margin`` for ``burst_gap_s``; its offset is where the score last was above. Shots that
follow within that gap belong to the same event.

Frames are processed one by one, so any chunking of a stream gives the same events.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from streamdet.detection.event import Detection, Phase
from streamdet.detection.frames import FrameGrid, ScoredFrames


@dataclass(frozen=True)
class DecisionConfig:
    """Parameters of the decision, in seconds, decibels and probabilities.

    ``refractory_s`` is the shortest time from the close of one event to the opening of the next.
    ``longest_s`` is the longest event; a longer one is closed and a new one opened. ``lookback_s``
    bounds the search for the onset. A round is a flux of ``round_flux_db``, at least
    ``round_gap_s`` after the previous round and within ``round_drop_db`` of the event's loudest
    frame so far.
    """

    threshold: float
    margin: float = 0.15
    burst_gap_s: float = 0.5
    refractory_s: float = 0.1
    longest_s: float = 20.0
    lookback_s: float = 0.4
    round_flux_db: float = 5.0
    round_drop_db: float = 15.0
    round_gap_s: float = 0.05

    @property
    def release(self) -> float:
        """The score below which an event may close; at least a tenth of the threshold."""
        return max(self.threshold - self.margin, 0.1 * self.threshold)

    def for_candidates(self, threshold: float) -> DecisionConfig:
        """The same decision at a low threshold, whose events close at half of it."""
        return replace(self, threshold=threshold, margin=threshold / 2)


@dataclass(frozen=True)
class OpenEvent:
    """An event that has not closed.

    ``opened`` and ``last_active`` are scored frames; ``onset`` and ``last_round`` are log-mel
    frames. ``armed``: the flux has fallen since the last round. ``scores`` (labels,) and ``level``
    are the maxima so far.
    """

    opened: int
    onset: int
    last_active: int
    rounds: int
    last_round: int
    armed: bool
    scores: np.ndarray
    level: float


@dataclass(frozen=True)
class DecisionState:
    """``frame``: index of the next frame. ``flux`` (n, stride) and ``levels`` (n,): those of the
    last ``lookback_s``, oldest first. ``refractory_until``: no event opens before this frame."""

    frame: int
    flux: np.ndarray
    levels: np.ndarray
    refractory_until: int
    event: OpenEvent | None


def init(config: DecisionConfig, grid: FrameGrid) -> DecisionState:
    """The state before the first frame."""
    lookback = _to_frames(config.lookback_s, grid)
    return DecisionState(0, np.zeros((lookback, grid.stride)), np.zeros(lookback), 0, None)


def step(
    config: DecisionConfig, grid: FrameGrid, state: DecisionState, frames: ScoredFrames
) -> tuple[DecisionState, list[Detection]]:
    """Process ``t`` frames of one stream; returns the detections, onsets and finals in order."""
    lookback = len(state.levels)
    flux = np.concatenate([state.flux, frames.flux])
    levels = np.concatenate([state.levels, frames.level])
    detections: list[Detection] = []
    event, refractory_until = state.event, state.refractory_until
    count = len(frames.scores)
    above = np.flatnonzero(frames.scores[:, 0] >= config.threshold)
    i = 0
    while i < count:
        if event is None:
            following = above[np.searchsorted(above, max(i, refractory_until - state.frame)) :]
            if not len(following):
                break
            i = int(following[0])
            window = slice(i, lookback + i + 1)
            frame = state.frame + i
            event = _open_event(config, grid, frame, flux[window], levels[window], frames.scores[i])
            detections.append(_make_detection("onset", config, grid, event, frame))
        else:
            frame = state.frame + i
            event = _extend_event(config, grid, event, frame, flux[lookback + i], frames, i)
            quiet = frame - event.last_active >= _to_frames(config.burst_gap_s, grid)
            if quiet or frame - event.opened >= _to_frames(config.longest_s, grid):
                detections.append(_make_detection("final", config, grid, event, frame))
                event, refractory_until = None, frame + _to_frames(config.refractory_s, grid)
        i += 1
    next_frame, first = state.frame + count, len(levels) - lookback
    state = DecisionState(next_frame, flux[first:], levels[first:], refractory_until, event)
    return state, detections


def finish(
    config: DecisionConfig, grid: FrameGrid, state: DecisionState
) -> tuple[DecisionState, list[Detection]]:
    """Close the open event, at the end of a stream or before a gap."""
    if state.event is None:
        return state, []
    last = state.frame - 1
    final = _make_detection("final", config, grid, state.event, last)
    return replace(state, event=None), [final]


def _open_event(
    config: DecisionConfig,
    grid: FrameGrid,
    frame: int,
    flux: np.ndarray,
    levels: np.ndarray,
    scores: np.ndarray,
) -> OpenEvent:
    """Place the onset at the sharpest rise of the look-back window, this frame included."""
    rises = flux.reshape(-1)
    sharpest = int(np.argmax(rises))
    first = (frame + 1) * grid.stride - len(rises)
    onset = max(0, first + sharpest)
    event = OpenEvent(
        opened=frame, onset=onset, last_active=frame, rounds=1, last_round=onset, armed=False,
        scores=scores, level=float(levels.max()),
    )  # fmt: skip
    for k in range(sharpest + 1, len(rises)):
        level = float(levels[k // grid.stride])
        event = _count_round(config, grid, event, first + k, float(rises[k]), level)
    return event


def _extend_event(
    config: DecisionConfig,
    grid: FrameGrid,
    event: OpenEvent,
    frame: int,
    flux: np.ndarray,
    frames: ScoredFrames,
    i: int,
) -> OpenEvent:
    level = float(frames.level[i])
    for k in range(grid.stride):
        event = _count_round(config, grid, event, frame * grid.stride + k, float(flux[k]), level)
    active = frames.scores[i, 0] >= config.release
    return replace(
        event,
        last_active=frame if active else event.last_active,
        scores=np.maximum(event.scores, frames.scores[i]),
        level=max(event.level, level),
    )


def _count_round(
    config: DecisionConfig, grid: FrameGrid, event: OpenEvent, at: int, flux: float, level: float
) -> OpenEvent:
    """Count a round at log-mel frame ``at`` if the sound rises again after a fall."""
    if flux < config.round_flux_db / 2:
        return event if event.armed else replace(event, armed=True)
    apart = at - event.last_round >= config.round_gap_s * grid.rate / grid.hop
    loud = level >= event.level * 10.0 ** (-config.round_drop_db / 10.0)
    if event.armed and apart and loud and flux >= config.round_flux_db:
        return replace(event, rounds=event.rounds + 1, last_round=at, armed=False)
    return event


def _make_detection(
    phase: Phase, config: DecisionConfig, grid: FrameGrid, event: OpenEvent, frame: int
) -> Detection:
    offset = (event.last_active + 1) * grid.frame
    return Detection(
        phase=phase,
        onset=event.onset * grid.hop,
        offset=None if phase == "onset" else offset,
        detected=(frame + 1) * grid.frame,
        rounds=event.rounds,
        score=float(event.scores[0]),
        threshold=config.threshold,
        level_dbfs=10.0 * math.log10(event.level + 1e-12),
        labels=dict(zip(grid.labels, map(float, event.scores), strict=True)),
    )


def _to_frames(seconds: float, grid: FrameGrid) -> int:
    return max(1, round(seconds * grid.rate / grid.frame))
