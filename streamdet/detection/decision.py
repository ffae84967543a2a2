"""Probabilities to events: hysteresis, bursts, rounds; a pure step that carries its state.

An event opens when the gunshot probability reaches the threshold, and its onset is put on
the sharpest rise of the sound just before. It stays open while shots follow within
``burst_gap_s``: the probability must stay below ``threshold - margin`` that long to close
it, and its offset is where it last was above. No knob depends on another.

Every frame counts as it comes, so any chunking of a stream gives the same events.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from streamdet.detection.event import Detection
from streamdet.detection.frames import FrameGrid, ScoredFrames


@dataclass(frozen=True)
class DecisionConfig:
    """The knobs; seconds, decibels and probabilities as named.

    ``refractory_s`` is the shortest pause from the close of one event to the opening of
    the next, ``longest_s`` closes an event that will not end, ``lookback_s`` bounds the
    search for the onset. A round is a rise of ``round_flux_db`` (mean over the bands), at
    least ``round_gap_s`` after the one before and within ``round_drop_db`` of the event's
    loudest frame so far.
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
        """The probability below which an event may end, never below a tenth of threshold."""
        return max(self.threshold - self.margin, 0.1 * self.threshold)


@dataclass(frozen=True)
class OpenEvent:
    """An event that is not over: frame indices, and the maxima so far."""

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
    """``frame``: the next frame's index; ``flux`` and ``levels``: those of the last
    ``lookback_s``, oldest first; ``refractory_until``: no event opens before this frame."""

    frame: int
    flux: np.ndarray
    levels: np.ndarray
    refractory_until: int
    event: OpenEvent | None


def init(config: DecisionConfig, grid: FrameGrid) -> DecisionState:
    """The state of a stream that has heard nothing."""
    back = _to_frames(config.lookback_s, grid)
    return DecisionState(0, np.zeros((back, grid.stride)), np.zeros(back), 0, None)


def step(
    config: DecisionConfig, grid: FrameGrid, state: DecisionState, frames: ScoredFrames
) -> tuple[DecisionState, list[Detection]]:
    """Decide over ``t`` more frames of one stream; returns what was opened and closed."""
    back = len(state.levels)
    flux = np.concatenate([state.flux, frames.flux])
    levels = np.concatenate([state.levels, frames.level])
    found: list[Detection] = []
    event, refractory_until = state.event, state.refractory_until
    gunshot = frames.scores[:, 0]
    loud = gunshot >= config.threshold
    for i in range(len(gunshot)) if event or loud.any() else ():
        frame = state.frame + i
        if event is None:
            if loud[i] and frame >= refractory_until:
                window = slice(i, back + i + 1)
                event = _open_event(
                    config, grid, frame, flux[window], levels[window], frames.scores[i]
                )
                found.append(_make_detection("onset", config, grid, event, frame))
            continue
        event = _extend_event(config, grid, event, frame, flux[back + i], frames, i)
        quiet = frame - event.last_active >= _to_frames(config.burst_gap_s, grid)
        if quiet or frame - event.opened >= _to_frames(config.longest_s, grid):
            found.append(_make_detection("final", config, grid, event, frame))
            event, refractory_until = None, frame + _to_frames(config.refractory_s, grid)
    at = state.frame + len(gunshot)
    ending = len(levels) - back
    return DecisionState(at, flux[ending:], levels[ending:], refractory_until, event), found


def finish(
    config: DecisionConfig, grid: FrameGrid, state: DecisionState
) -> tuple[DecisionState, list[Detection]]:
    """Close what is open: the stream has ended or was broken."""
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
    """Put the onset on the sharpest rise of the look-back, this frame included."""
    rises = flux.reshape(-1)
    sharpest = int(np.argmax(rises))
    first = (frame + 1) * grid.stride - len(rises)
    onset = max(0, first + sharpest)
    rounds, last_round, armed = 1, onset, False
    event = OpenEvent(frame, onset, frame, rounds, last_round, armed, scores, float(levels.max()))
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
    loud = frames.scores[i, 0] >= config.release
    return replace(
        event,
        last_active=frame if loud else event.last_active,
        scores=np.maximum(event.scores, frames.scores[i]),
        level=max(event.level, level),
    )


def _count_round(
    config: DecisionConfig, grid: FrameGrid, event: OpenEvent, at: int, flux: float, level: float
) -> OpenEvent:
    """Count a round at 10 ms frame ``at`` where the sound rises again after a fall."""
    if flux < config.round_flux_db / 2:
        return event if event.armed else replace(event, armed=True)
    apart = at - event.last_round >= config.round_gap_s * grid.rate / grid.hop
    loud = level >= event.level * 10.0 ** (-config.round_drop_db / 10.0)
    if event.armed and apart and loud and flux >= config.round_flux_db:
        return replace(event, rounds=event.rounds + 1, last_round=at, armed=False)
    return event


def _make_detection(
    phase: str, config: DecisionConfig, grid: FrameGrid, event: OpenEvent, frame: int
) -> Detection:
    offset = (event.last_active + 1) * grid.frame
    return Detection(
        phase="onset" if phase == "onset" else "final",
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
