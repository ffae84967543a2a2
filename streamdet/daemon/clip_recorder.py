"""The sound around an event, gathered while it is heard: pre-roll, the event, post-roll.

All of it is the daemon's thread's: the pre-roll is fetched from the ring as the event begins, the
rest is what is taken for the ear anyway. What to do with it is another thread's business.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from streamdet.daemon.managed_source import ManagedSource
from streamdet.detection.event import Detection

Record = dict[str, Any]
SHOT_S, LEAD_S = 1.0, 0.2
"""What is kept of a shot beside which somebody speaks: so long, from so much before its onset."""


@dataclass(frozen=True)
class EventClip:
    """The ``(n,) float32`` sound of an event that is over, at ``rate``; the onset is ``onset_s``
    in, and ``speech`` the highest probability of speech in any of it."""

    record: Record
    samples: np.ndarray
    rate: int
    onset_s: float
    speech: float

    def shot_only(self) -> EventClip:
        """The shot's own second alone."""
        first = max(0, round((self.onset_s - LEAD_S) * self.rate))
        samples = self.samples[first : first + round(SHOT_S * self.rate)]
        return EventClip(
            self.record, samples, self.rate, self.onset_s - first / self.rate, self.speech
        )


@dataclass
class _Recording:
    source: ManagedSource
    start: int
    onset: int
    rate: int
    parts: list[np.ndarray]
    count: int
    end: int | None = None
    record: Record = field(default_factory=dict)

    def cut(self, post: int, speech: float) -> EventClip:
        last = self.count if self.end is None else self.end + post - self.start
        samples = np.concatenate(self.parts)[: max(0, last)]
        return EventClip(
            self.record, samples, self.rate, (self.onset - self.start) / self.rate, speech
        )


class ClipRecorder:
    """Recordings of every ear that has an event; ``done`` is given each as it is whole."""

    def __init__(self, pre_s: float, post_s: float, done: Callable[[EventClip], None]) -> None:
        self._pre_s, self._post_s, self._done = pre_s, post_s, done
        self._open: dict[str, _Recording] = {}

    def start(self, ear: ManagedSource, event: str, d: Detection, rate: int) -> None:
        """An event begins, ``d`` in samples of ``rate`` since the source was opened."""
        past = ear.history
        if past is None:
            return
        native = past.rate
        start, samples = past.samples_since(max(0, round((d.onset / rate - self._pre_s) * native)))
        if not any(r.source is ear for r in self._open.values()):
            ear.taps.append(self._on_audio)
        onset = round(d.onset / rate * native)
        self._open[event] = _Recording(ear, start, onset, native, [samples], len(samples))

    def finish(self, event: str, d: Detection, rate: int, record: Record) -> None:
        """An event is over; its post-roll may still have to come."""
        recording = self._open.get(event)
        if recording is not None:
            offset = d.onset if d.offset is None else d.offset
            recording.end, recording.record = round(offset / rate * recording.rate), record
            self._finish_if_whole(event, recording)

    def abandon(self, ear: ManagedSource) -> None:
        """A source is closed, or samples of it are missing: what there is has to do."""
        for event, recording in list(self._open.items()):
            if recording.source is ear:
                self._finish(event, recording)

    def _on_audio(self, ear: ManagedSource, start: int, samples: np.ndarray) -> None:
        for event, recording in list(self._open.items()):
            if recording.source is not ear:
                continue
            if start != recording.start + recording.count:
                self._finish(event, recording)
                continue
            recording.parts.append(samples)
            recording.count += len(samples)
            self._finish_if_whole(event, recording)

    def _finish_if_whole(self, event: str, recording: _Recording) -> None:
        post = round(self._post_s * recording.rate)
        if recording.end is not None and recording.count >= recording.end + post - recording.start:
            self._finish(event, recording)

    def _finish(self, event: str, recording: _Recording) -> None:
        ear, rate = recording.source, recording.rate
        del self._open[event]
        if not any(r.source is ear for r in self._open.values()):
            ear.taps.remove(self._on_audio)
        if recording.record:  # else its final line never came, and there is nothing to attach to
            end = recording.start + recording.count
            past = ear.history
            speech = 1.0 if past is None else past.max_score("speech", recording.start, end)
            self._done(recording.cut(round(self._post_s * rate), speech))
