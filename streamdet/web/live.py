"""Live updates: events, verdicts, and each source's state, level, spectrogram and scores.

The daemon's thread hands over what it has and returns at once. The event loop of the page turns it
into server-sent events and queues them for each viewer. A viewer that does not read loses the
oldest messages.
"""

from __future__ import annotations

import asyncio
import base64
import json
import math
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from streamdet.model import spectrogram

MAX_VIEWERS = 50
MAX_LIVE_SOURCES = 8
_QUEUE_SIZE = 100
_KEEP_ALIVE_S = 15.0
_MAX_SNAPSHOTS = 256
_WINDOW_S = 0.025


@dataclass(frozen=True)
class LiveSnapshot:
    """What a source gave since its previous snapshot.

    ``samples`` is ``(n,) float32`` at ``rate`` Hz and is empty while the source is disconnected.
    ``scores`` are the gunshot scores of its frames of ``frame_s`` seconds. ``level`` is the RMS.
    ``state`` is the value of a `SourceState`.
    """

    source: str
    state: str
    level: float
    threshold: float
    samples: np.ndarray
    rate: int
    scores: list[float]
    frame_s: float


@dataclass(eq=False)
class LiveViewer:
    """An open page. ``live`` are the names of the sources that it draws."""

    live: frozenset[str]
    queue: deque[str] = field(default_factory=lambda: deque(maxlen=_QUEUE_SIZE))
    wake: asyncio.Event = field(default_factory=asyncio.Event)


class LiveHub:
    """Passes messages from the daemon to the viewers.

    `publish`, `publish_snapshot`, `close` and ``watched_sources`` are safe in any thread. The rest
    belongs to the event loop.
    """

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._viewers: set[LiveViewer] = set()
        self._snapshots: deque[LiveSnapshot] = deque(maxlen=_MAX_SNAPSHOTS)
        self._unused_samples: dict[str, np.ndarray] = {}
        self._closed = False
        self.watched_sources = frozenset[str]()

    def set_loop(self, loop: asyncio.AbstractEventLoop) -> None:
        """Set the event loop in which the viewers are served."""
        self._loop = loop

    def close(self) -> None:
        """End the streams of all viewers."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._close)

    def publish(self, kind: str, message: dict[str, Any]) -> None:
        """Send a message to all viewers. Returns at once."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._enqueue, kind, message, None)

    def publish_snapshot(self, snapshot: LiveSnapshot) -> None:
        """Send a snapshot to the viewers of its source. Returns at once."""
        self._snapshots.append(snapshot)
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._enqueue_snapshots)

    @property
    def full(self) -> bool:
        """Whether MAX_VIEWERS pages are open."""
        return len(self._viewers) >= MAX_VIEWERS

    async def messages(self, live: frozenset[str]) -> AsyncIterator[str]:
        """Yield the server-sent events for one viewer until it disconnects.

        If MAX_VIEWERS pages are open, the stream ends at once and asks the browser to retry.
        """
        if self.full:  # other viewers may have come between the request and this call
            yield "retry: 10000\n\n"
            return
        viewer = LiveViewer(live)
        self._viewers.add(viewer)
        self._update_watched()
        try:
            yield "retry: 2000\n\n"
            while not self._closed:
                try:
                    await asyncio.wait_for(viewer.wake.wait(), _KEEP_ALIVE_S)
                except TimeoutError:
                    yield ": alive\n\n"
                viewer.wake.clear()
                while viewer.queue:
                    yield viewer.queue.popleft()
        finally:
            self._viewers.discard(viewer)
            self._update_watched()

    def _close(self) -> None:
        self._closed = True
        for viewer in self._viewers:
            viewer.wake.set()

    def _update_watched(self) -> None:
        self.watched_sources = frozenset(name for viewer in self._viewers for name in viewer.live)

    def _enqueue(self, kind: str, message: dict[str, Any], source: str | None) -> None:
        text = f"event: {kind}\ndata: {json.dumps(message, separators=(',', ':'))}\n\n"
        for viewer in self._viewers:
            if source is None or source in viewer.live:
                viewer.queue.append(text)
                viewer.wake.set()

    def _enqueue_snapshots(self) -> None:
        while self._snapshots:
            snapshot = self._snapshots.popleft()
            if snapshot.source in self.watched_sources:
                self._enqueue("live", self._snapshot_message(snapshot), snapshot.source)

    def _snapshot_message(self, snapshot: LiveSnapshot) -> dict[str, Any]:
        level_dbfs = 20.0 * math.log10(max(snapshot.level, 1e-6))
        return {
            "source": snapshot.source,
            "state": snapshot.state,
            "level_dbfs": round(level_dbfs, 1),
            "threshold": round(snapshot.threshold, 4),
            "scores": [round(score, 3) for score in snapshot.scores],
            "frame_s": snapshot.frame_s,
            "hop_s": spectrogram.HOP_S,
            "columns": base64.b64encode(self._spectrogram_columns(snapshot).tobytes()).decode(),
        }

    def _spectrogram_columns(self, snapshot: LiveSnapshot) -> np.ndarray:
        """Return the new columns, ``(columns, bands) uint8``.

        Samples that do not fill a column are saved for the next snapshot.
        """
        if not snapshot.samples.size:
            return np.zeros((0, spectrogram.BANDS), np.uint8)
        unused = self._unused_samples.get(snapshot.source, np.zeros(0, np.float32))
        rate = snapshot.rate
        samples = np.concatenate([unused[-rate:], snapshot.samples])
        hop = round(spectrogram.HOP_S * rate)
        count = max(0, (len(samples) - round(_WINDOW_S * rate)) // hop + 1)
        self._unused_samples[snapshot.source] = samples[count * hop :]
        return spectrogram.spectrogram_levels(samples, rate)[:count]
