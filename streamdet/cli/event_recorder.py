"""Store the events of files, cut their clips, and score them against labels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from streamdet.model import spectrogram
from streamdet.pipeline import excerpt
from streamdet.pipeline.files import FileEvent
from streamdet.scoring.labels import ShotLabel
from streamdet.scoring.summary import EventScorer
from streamdet.store.clips import ClipError, ClipFolder
from streamdet.store.store import ClipInfo, EventStore
from streamdet.store.verdict import Verdict

LABELS_REVIEWER = "labels"
"""The reviewer of verdicts that come from a label file."""


class EventRecorder:
    """Records the events of one file after another.

    ``store``, ``clips`` and ``truth`` are each optional. With ``truth`` and ``store`` the labels
    set the verdict of each event. Opening raises StoreError or ClipError, and writing to the store
    StoreError. A clip that cannot be written sets ``clip_fault`` instead.
    """

    def __init__(
        self,
        store: Path | None,
        clips: Path | None,
        truth: Sequence[ShotLabel] | None,
        track: str | None = None,
    ) -> None:
        self._track = track
        self._store = None if store is None else EventStore(store)
        self._clips = None if clips is None else ClipFolder(clips)
        self._scorer = None if truth is None else EventScorer(truth)
        self._file_events: list[FileEvent] = []
        self.clip_fault = ""

    def __enter__(self) -> EventRecorder:
        return self

    def __exit__(self, *_: object) -> None:
        if self._store is not None:
            self._store.close()

    @property
    def damaged_copy(self) -> Path | None:
        """Where a damaged store was moved to. None if it was not damaged."""
        return None if self._store is None else self._store.damaged_copy

    @property
    def label_summary(self) -> list[str]:
        """Precision, recall and window counts, as lines. Empty without labels."""
        return [] if self._scorer is None else self._scorer.summary_lines()

    def add_event(self, found: FileEvent, path: str) -> None:
        """Record an event of the file ``path`` ("-" is stdin)."""
        if self._scorer is not None:
            self._file_events.append(found)
        if self._store is not None:
            try:
                self._add_to_store(self._store, found, path)
            except ClipError as error:
                self.clip_fault = f"clip not written: {error}"

    def finish_file(self, path: str) -> None:
        """Score the events of a file that is complete."""
        if self._scorer is None:
            return
        spans = []
        for found in self._file_events:
            d, rate = found.event.detection, found.event.sample_rate
            spans.append((d.onset / rate, (d.offset or d.onset) / rate))
        matches = self._scorer.add_file(path, spans)
        for found, is_true in zip(self._file_events, matches, strict=True):
            if self._store is not None:
                verdict = Verdict("true" if is_true else "false", reviewer=LABELS_REVIEWER)
                self._store.review(found.event.id, verdict)
        self._file_events.clear()

    def _add_to_store(self, store: EventStore, found: FileEvent, path: str) -> None:
        """Store an event. Spectrogram and clip need a file that can be read again."""
        event, record = found.event, found.event.record()
        onset_s = event.detection.onset / event.sample_rate
        store.add(record, [(round(at_s - onset_s, 3), score) for at_s, score in found.scores])
        if (cut := excerpt.read_excerpt(event, path, self._track)) is None:
            return
        samples, rate, onset_s = cut
        store.attach(event.id, spectrogram=spectrogram.compute_spectrogram(samples, rate, onset_s))
        if self._clips is not None:
            size = self._clips.write(record, samples, rate)
            info = ClipInfo(size, onset_s, len(samples) / rate, redacted=False)
            store.attach(event.id, info)
