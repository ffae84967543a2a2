"""Collects the audio of each event: pre-roll, the event itself, post-roll.

Belongs to the daemon's thread. The pre-roll is copied from the ring buffer when the event starts;
the rest comes from an `AudioTap` on the source. Another thread writes the finished clips.
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
"""The length of a redacted clip, and how much of it precedes the onset, in seconds."""


@dataclass(frozen=True)
class EventClip:
    """The audio of a finished event.

    ``samples``: ``(n,) float32`` at ``rate`` Hz. ``onset_s``: where in the samples the event
    starts. ``speech``: the highest score of the label "speech" in them.
    """

    record: Record
    samples: np.ndarray
    rate: int
    onset_s: float
    speech: float

    def shot_only(self) -> EventClip:
        """The second around the onset, for a clip that contains speech."""
        first = max(0, round((self.onset_s - LEAD_S) * self.rate))
        samples = self.samples[first : first + round(SHOT_S * self.rate)]
        return EventClip(
            self.record, samples, self.rate, self.onset_s - first / self.rate, self.speech
        )


@dataclass
class _Recording:
    """The audio of an event so far; indices are samples since the source was opened."""

    source: ManagedSource
    start: int
    onset: int
    rate: int
    blocks: list[np.ndarray]
    count: int
    end: int | None = None
    record: Record = field(default_factory=dict)

    def clip(self, post_roll: int, speech: float) -> EventClip:
        length = self.count if self.end is None else self.end + post_roll - self.start
        samples = np.concatenate(self.blocks)[: max(0, length)]
        onset_s = (self.onset - self.start) / self.rate
        return EventClip(self.record, samples, self.rate, onset_s, speech)


class ClipRecorder:
    """Records the open events of all sources; calls ``on_clip`` with each clip when complete."""

    def __init__(self, pre_s: float, post_s: float, on_clip: Callable[[EventClip], None]) -> None:
        self._pre_s, self._post_s, self._on_clip = pre_s, post_s, on_clip
        self._recordings: dict[str, _Recording] = {}

    def start(self, source: ManagedSource, event: str, detection: Detection, rate: int) -> None:
        """Start the clip of an event. ``detection`` counts samples of ``rate`` Hz since the source
        was opened."""
        history = source.history
        if history is None:
            return
        first = round((detection.onset / rate - self._pre_s) * history.rate)
        start, samples = history.samples_since(max(0, first))
        if not self._is_recording(source):
            source.taps.append(self._on_audio)
        onset = round(detection.onset / rate * history.rate)
        self._recordings[event] = _Recording(
            source, start, onset, history.rate, [samples], len(samples)
        )

    def finish(self, event: str, detection: Detection, rate: int, record: Record) -> None:
        """Set the end of an event. Its clip is complete once the post-roll has been recorded."""
        recording = self._recordings.get(event)
        if recording is not None:
            offset = detection.onset if detection.offset is None else detection.offset
            recording.end, recording.record = round(offset / rate * recording.rate), record
            self._finish_if_complete(event, recording)

    def abandon(self, source: ManagedSource) -> None:
        """Finish all clips of a source as they are, because no more of its audio will follow."""
        for event, recording in list(self._recordings.items()):
            if recording.source is source:
                self._finish(event, recording)

    def _is_recording(self, source: ManagedSource) -> bool:
        return any(recording.source is source for recording in self._recordings.values())

    def _on_audio(self, source: ManagedSource, start: int, samples: np.ndarray) -> None:
        for event, recording in list(self._recordings.items()):
            if recording.source is not source:
                continue
            if start != recording.start + recording.count:  # samples were lost
                self._finish(event, recording)
                continue
            recording.blocks.append(samples)
            recording.count += len(samples)
            self._finish_if_complete(event, recording)

    def _finish_if_complete(self, event: str, recording: _Recording) -> None:
        if recording.end is None:
            return
        post_roll = round(self._post_s * recording.rate)
        if recording.count >= recording.end + post_roll - recording.start:
            self._finish(event, recording)

    def _finish(self, event: str, recording: _Recording) -> None:
        source = recording.source
        del self._recordings[event]
        if not self._is_recording(source):
            source.taps.remove(self._on_audio)
        if not recording.record:
            return  # no final record, so the store has nothing to attach a clip to
        end, history = recording.start + recording.count, source.history
        # without scores, assume speech
        speech = 1.0 if history is None else history.max_score("speech", recording.start, end)
        self._on_clip(recording.clip(round(self._post_s * recording.rate), speech))
