"""What is kept of events: their store, their clips and pictures, and the counts of what was said.

One thread writes clips and pictures and looks after limits; what the daemon's thread asks for is
answered from memory.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable

from streamdet.config.schema import ClipsConfig
from streamdet.config.schema import StoreConfig as StoreTable
from streamdet.daemon.clip_recorder import ClipRecorder, EventClip
from streamdet.model import spectrogram
from streamdet.store.clips import ClipError, ClipFolder, ClipLimits
from streamdet.store.store import ClipInfo, EventStore, StoreError

SPEECH = 0.5
"""From this probability on somebody speaks, for ``redact_speech``."""
WINDOWS = {"24h": 1.0, "30d": 30.0}
_MOST_WAITING = 64
_COUNT_S, _LIMITS_S = 1.0, 600.0
_PICTURE_S, _LOOK_S = 1.0, 0.2

LogProblem = Callable[[str, str], None]
"""Told of a kind of trouble, and of it in words."""


class EventStorage:
    """Raises StoreError or ClipError where there can be none. ``tallies`` is as `Store.tallies`,
    ``lately`` the (true, false) of each window and source; ``results`` counts clips by (source,
    what became of them), ``clip_bytes`` what they take. ``noted`` is called, from a thread of its
    own, with the id of each event whose clip or picture is there."""

    def __init__(self, table: StoreTable, clips: ClipsConfig | None) -> None:
        self._table, self._clips = table, clips
        self.store = EventStore(table.path)
        self.folder = None if clips is None else ClipFolder(clips.folder)
        pre_s, post_s = (_PICTURE_S, _PICTURE_S) if clips is None else (clips.pre_s, clips.post_s)
        self.recorder: ClipRecorder | None = None
        if clips is not None or table.pictures:
            self.recorder = ClipRecorder(pre_s, post_s, self._enqueue)
        self.clip_results: dict[tuple[str, str], int] = {}
        self.clip_bytes = 0
        self.verdict_counts = self.store.verdict_counts()
        self.recent_verdicts = self._count_recent_verdicts()
        self._waiting: queue.Queue[EventClip] = queue.Queue(_MOST_WAITING)
        self._log_problem: LogProblem = lambda _, __: None
        self._looked = self._counted = 0.0
        self.on_attached: Callable[[str], None] = lambda _: None
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="streamdet-evidence", daemon=True)

    def start(self, say: LogProblem) -> None:
        """Begin; ``say`` is called from the thread."""
        self._log_problem = say
        if self.store.damaged_copy is not None:
            say("store_damaged", f"the event store was damaged; it is {self.store.damaged_copy}")
        self._thread.start()

    def close(self, patience_s: float) -> None:
        """Write what there is, for at most so long, and close the store."""
        if self._thread.ident is not None:
            self._ending.set()
            self._thread.join(patience_s)
        if not self._thread.is_alive():
            self.store.close()

    def _enqueue(self, cut: EventClip) -> None:
        try:
            self._waiting.put_nowait(cut)
        except queue.Full:
            self._count(cut, "dropped")

    def _run(self) -> None:
        if self.folder is not None:
            self._guarded(lambda folder=self.folder: folder.reconcile(self.store))
        while True:
            self._guarded(self._maintain)
            try:
                cut = self._waiting.get(timeout=0 if self._ending.is_set() else _LOOK_S)
            except queue.Empty:
                if self._ending.is_set():
                    return
                continue
            self._guarded(lambda cut=cut: self._save(cut))

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except (StoreError, OSError) as error:
            self._log_problem("store_failed", str(error))

    def _maintain(self) -> None:
        now = time.monotonic()
        if now - self._counted >= _COUNT_S:
            self._counted = now
            self.verdict_counts = self.store.verdict_counts()
            self.recent_verdicts = self._count_recent_verdicts()
        if not self._looked or now - self._looked >= _LIMITS_S:
            self._looked = now
            gone = self.store.prune(self._table.keep_days, self._table.keep_events or None)
            if self.folder is not None and self._clips is not None:
                for event in gone:
                    self.folder.remove(event)
                self.clip_bytes = self.folder.trim(self.store, _limits(self._clips))

    def _count_recent_verdicts(self) -> dict[str, dict[str, tuple[int, int]]]:
        return {name: self.store.recent_verdicts(days) for name, days in WINDOWS.items()}

    def _save(self, cut: EventClip) -> None:
        redacted = self._table.redact_speech and cut.speech >= SPEECH
        if redacted:
            cut = cut.shot_only()
        note = self._write_clip(cut, redacted)
        made = None
        if self._table.pictures:
            made = spectrogram.compute_spectrogram(cut.samples, cut.rate, cut.onset_s)
        if note is None and made is None:
            return
        event = cut.record["id"]
        try:
            self.store.attach(event, note, made)
        except StoreError:
            if note is not None and self.folder is not None:
                self.folder.remove(event)  # nobody would know of it
                self.clip_bytes -= note.bytes
            raise
        self.on_attached(event)

    def _write_clip(self, cut: EventClip, redacted: bool) -> ClipInfo | None:
        if self.folder is None or self._clips is None:
            return None
        try:
            size = self.folder.write(cut.record, cut.samples, cut.rate, self._clips.min_free_bytes)
        except ClipError as error:
            self._count(cut, "no_room" if error.full else "failed")
            self._log_problem("clip_failed", f"no clip is kept: {error}")
            return None
        self._count(cut, "redacted" if redacted else "kept")
        self.clip_bytes += size
        if self.clip_bytes > self._clips.max_bytes:
            self.clip_bytes = size + self.folder.trim(self.store, _limits(self._clips), size)
        return ClipInfo(size, cut.onset_s, len(cut.samples) / cut.rate, redacted)

    def _count(self, cut: EventClip, result: str) -> None:
        key = (cut.record["source"], result)
        self.clip_results[key] = self.clip_results.get(key, 0) + 1


def _limits(clips: ClipsConfig) -> ClipLimits:
    return ClipLimits(clips.max_bytes, clips.max_days, clips.min_free_bytes)
