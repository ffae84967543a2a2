"""What is kept of the events of files: in the store, with clips cut out of the file itself."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from streamdet.model import spectrogram
from streamdet.pipeline import excerpt
from streamdet.pipeline.files import FileEvent
from streamdet.scoring.labels import Label
from streamdet.scoring.summary import Scoring
from streamdet.store.clips import ClipError, ClipFolder
from streamdet.store.store import ClipNote, Store
from streamdet.store.verdict import Verdict

LABELLED = "labels"
"""The reviewer of verdicts that come from a label file."""


class Keeping:
    """Takes the events of one file after another; all of it is optional. Raises StoreError, and at
    first ClipError; later ``clip_fault`` says why a clip was not kept. ``judged`` is what the
    labels make of the events, in lines."""

    def __init__(
        self,
        store: Path | None,
        clips: Path | None,
        truth: Sequence[Label] | None,
        track: str | None = None,
    ) -> None:
        self._track = track
        self._store = None if store is None else Store(store)
        self._clips = None if clips is None else ClipFolder(clips)
        self._scoring = None if truth is None else Scoring(truth)
        self.clip_fault = ""
        self._of_file: list[FileEvent] = []

    def __enter__(self) -> Keeping:
        return self

    def __exit__(self, *_: object) -> None:
        if self._store is not None:
            self._store.close()

    @property
    def set_aside(self) -> Path | None:
        """Where a damaged store was put."""
        return None if self._store is None else self._store.set_aside

    @property
    def judged(self) -> list[str]:
        """Lines; none without labels."""
        return [] if self._scoring is None else self._scoring.lines()

    def take(self, heard: FileEvent, path: str) -> None:
        """An event of a file, "-" for stdin."""
        if self._scoring is not None:
            self._of_file.append(heard)
        if self._store is not None:
            try:
                _keep(self._store, heard, path, self._clips, self._track)
            except ClipError as error:
                self.clip_fault = f"no clip is kept: {error}"

    def file_over(self, path: str) -> None:
        """The file has no more; hold what it had against its labels."""
        if self._scoring is None:
            return
        spans = []
        for heard in self._of_file:
            d, rate = heard.event.detection, heard.event.sample_rate
            spans.append((d.onset / rate, (d.offset or d.onset) / rate))
        true = self._scoring.take(path, spans)
        for heard, yes in zip(self._of_file, true, strict=True):
            if self._store is not None:
                said = Verdict("true" if yes else "false", reviewer=LABELLED)
                self._store.review(heard.event.id, said)
        self._of_file.clear()


def _keep(
    store: Store,
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
    store.attach(event.id, picture=spectrogram.compute_spectrogram(samples, rate, onset_s))
    if clips is not None:
        size = clips.write(record, samples, rate)
        note = ClipNote(size, onset_s, len(samples) / rate, redacted=False)
        store.attach(event.id, note)
