"""Stores events with their clips and spectrograms, and counts the verdicts of reviewers.

A separate thread writes clips and spectrograms and enforces the limits. What the daemon's thread
reads is kept in memory.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Mapping

from streamdet.config.schema import ClipsConfig
from streamdet.config.schema import StoreConfig as StoreTable
from streamdet.daemon.clip_recorder import ClipRecorder, EventClip
from streamdet.model import spectrogram
from streamdet.store.clips import ClipError, ClipFolder, ClipLimits
from streamdet.store.store import ClipInfo, EventStore, StoreError

SPEECH = 0.5
"""From this score of the label "speech" on, ``redact_speech`` shortens a clip."""
WINDOWS = {"24h": 1.0, "30d": 30.0}
"""The windows of the precision metrics, in days."""
_MAX_WAITING, _MAX_VERDICTS = 64, 500
_IS_TRUE = {"true": True, "false": False}
_COUNT_S, _LIMITS_S = 1.0, 600.0
_SPECTROGRAM_S, _POLL_S = 1.0, 0.2

ReportProblem = Callable[[str, str], None]
"""Called with the kind of a problem, as in the log, and a message."""


class EventStorage:
    """Opens the event store and the clip folder; raises StoreError or ClipError if it cannot.

    ``verdict_counts``: as `EventStore.verdict_counts`. ``recent_verdicts``: (true, false) of each
    window and source. ``verdicts``: the newest 500 by event id, None for unsure; a new mapping
    after each change. ``clip_results``: number of clips by (source, result). ``clip_bytes``: size
    of all clips. ``on_attached`` is called from the storage thread with the id of each event that
    has got its clip or spectrogram.
    """

    def __init__(self, table: StoreTable, clips: ClipsConfig | None) -> None:
        self._table, self._clips = table, clips
        self.folder = None if clips is None else ClipFolder(clips.folder)
        self.store = EventStore(table.path)
        self.recorder: ClipRecorder | None = None
        if clips is not None:
            self.recorder = ClipRecorder(clips.pre_s, clips.post_s, self.enqueue_clip)
        elif table.pictures:
            self.recorder = ClipRecorder(_SPECTROGRAM_S, _SPECTROGRAM_S, self.enqueue_clip)
        self.clip_results: dict[tuple[str, str], int] = {}
        self.clip_bytes = 0
        self.on_attached: Callable[[str], None] = lambda _: None
        self._queue: queue.Queue[EventClip] = queue.Queue(_MAX_WAITING)
        self._report_problem: ReportProblem = lambda _, __: None
        self.verdicts: Mapping[str, bool | None] = {}
        self._limited = self._counted = 0.0
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="streamdet-storage", daemon=True)
        try:
            self.verdict_counts = self.store.verdict_counts()
            self.recent_verdicts = self._count_recent_verdicts()
        except StoreError:
            self.store.close()
            raise

    def start(self, report_problem: ReportProblem) -> None:
        """Start the thread, which is also where ``report_problem`` is called."""
        self._report_problem = report_problem
        if (copy := self.store.damaged_copy) is not None:
            report_problem("store_damaged", f"the event store was damaged; moved to {copy}")
        self._thread.start()

    def close(self, timeout_s: float) -> None:
        """Write the clips that wait, for at most ``timeout_s`` seconds, and close the store."""
        if self._thread.ident is not None:
            self._ending.set()
            self._thread.join(timeout_s)
        if not self._thread.is_alive():
            self.store.close()

    def enqueue_clip(self, clip: EventClip) -> None:
        """Queue a clip to be written; returns at once. A full queue drops it."""
        try:
            self._queue.put_nowait(clip)
        except queue.Full:
            self._count(clip, "dropped")

    def _run(self) -> None:
        if self.folder is not None:
            self._guarded(lambda folder=self.folder: folder.reconcile(self.store))
        while True:
            self._guarded(self._maintain)
            try:
                clip = self._queue.get(timeout=0 if self._ending.is_set() else _POLL_S)
            except queue.Empty:
                if self._ending.is_set():
                    return
                continue
            self._guarded(lambda clip=clip: self._save(clip))

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except (StoreError, OSError) as error:
            self._report_problem("store_failed", str(error))

    def _maintain(self) -> None:
        now = time.monotonic()
        if now - self._counted >= _COUNT_S:
            self._counted = now
            self.verdict_counts = self.store.verdict_counts()
            self.recent_verdicts = self._count_recent_verdicts()
            latest = self.store.latest_verdicts(_MAX_VERDICTS).items()
            verdicts = {event: _IS_TRUE.get(verdict) for event, verdict in latest}
            if verdicts != self.verdicts:
                self.verdicts = verdicts
        if not self._limited or now - self._limited >= _LIMITS_S:
            self._limited = now
            removed = self.store.prune(self._table.keep_days, self._table.keep_events or None)
            if self.folder is not None and self._clips is not None:
                for event in removed:
                    self.folder.remove(event)
                self.clip_bytes = self.folder.trim(self.store, _limits(self._clips))

    def _count_recent_verdicts(self) -> dict[str, dict[str, tuple[int, int]]]:
        return {name: self.store.recent_verdicts(days) for name, days in WINDOWS.items()}

    def _save(self, clip: EventClip) -> None:
        redacted = self._table.redact_speech and clip.speech >= SPEECH
        if redacted:
            clip = clip.shot_only()
        info = self._write_clip(clip, redacted)
        picture = None
        if self._table.pictures:
            picture = spectrogram.compute_spectrogram(clip.samples, clip.rate, clip.onset_s)
        if info is None and picture is None:
            return
        event = clip.record["id"]
        try:
            self.store.attach(event, info, picture)
        except StoreError:
            if info is not None and self.folder is not None:
                self.folder.remove(event)  # no event refers to it
                self.clip_bytes -= info.bytes
            raise
        self.on_attached(event)

    def _write_clip(self, clip: EventClip, redacted: bool) -> ClipInfo | None:
        if self.folder is None or self._clips is None:
            return None
        free = self._clips.min_free_bytes
        try:
            size = self.folder.write(clip.record, clip.samples, clip.rate, free)
        except ClipError as error:
            self._count(clip, "no_room" if error.full else "failed")
            self._report_problem("clip_failed", f"clip not saved: {error}")
            return None
        self._count(clip, "redacted" if redacted else "kept")
        self.clip_bytes += size
        if self.clip_bytes > self._clips.max_bytes:
            self.clip_bytes = size + self.folder.trim(self.store, _limits(self._clips), size)
        return ClipInfo(size, clip.onset_s, len(clip.samples) / clip.rate, redacted)

    def _count(self, clip: EventClip, result: str) -> None:
        key = (clip.record["source"], result)
        self.clip_results[key] = self.clip_results.get(key, 0) + 1


def _limits(clips: ClipsConfig) -> ClipLimits:
    return ClipLimits(clips.max_bytes, clips.max_days, clips.min_free_bytes)
