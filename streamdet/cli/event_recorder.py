"""What is kept of the events of files: in the store, with clips cut out of the file itself."""

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
    """Takes the events of one file after another; all of it is optional. Raises StoreError, and at
    first ClipError; later ``clip_fault`` says why a clip was not kept. ``judged`` is what the
    labels make of the events, in lines."""

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
        self._scoring = None if truth is None else EventScorer(truth)
        self.clip_fault = ""
        self._of_file: list[FileEvent] = []

    def __enter__(self) -> EventRecorder:
        return self

    def __exit__(self, *_: object) -> None:
        if self._store is not None:
            self._store.close()

    @property
    def damaged_copy(self) -> Path | None:
        """Where a damaged store was put."""
        return None if self._store is None else self._store.damaged_copy

    @property
    def label_summary(self) -> list[str]:
        """Lines; none without labels."""
        return [] if self._scoring is None else self._scoring.summary_lines()

    def add_event(self, heard: FileEvent, path: str) -> None:
        """An event of a file, "-" for stdin."""
        if self._scoring is not None:
            self._of_file.append(heard)
        if self._store is not None:
            try:
                _keep(self._store, heard, path, self._clips, self._track)
            except ClipError as error:
                self.clip_fault = f"no clip is kept: {error}"

    def finish_file(self, path: str) -> None:
        """The file has no more; hold what it had against its labels."""
        if self._scoring is None:
            return
        spans = []
        for heard in self._of_file:
            d, rate = heard.event.detection, heard.event.sample_rate
            spans.append((d.onset / rate, (d.offset or d.onset) / rate))
        true = self._scoring.add_file(path, spans)
        for heard, yes in zip(self._of_file, true, strict=True):
            if self._store is not None:
                said = Verdict("true" if yes else "false", reviewer=LABELS_REVIEWER)
                self._store.review(heard.event.id, said)
        self._of_file.clear()


def _keep(
    store: EventStore,
    heard: FileEvent,
    path: str,
    clips: ClipFolder | None,
    track: str | None,
) -> None:
    """Into the store, with a picture and a clip where the file can be read once more."""
    event, record = heard.event, heard.event.record()
    onset_s = event.detection.onset / event.sample_rate
    store.add(record, [(round(at - onset_s, 3), score) for at, score in heard.scores])
    if (cut := excerpt.read_excerpt(event, path, track)) is None:
        return
    samples, rate, onset_s = cut
    store.attach(event.id, spectrogram=spectrogram.compute_spectrogram(samples, rate, onset_s))
    if clips is not None:
        size = clips.write(record, samples, rate)
        note = ClipInfo(size, onset_s, len(samples) / rate, redacted=False)
        store.attach(event.id, note)
