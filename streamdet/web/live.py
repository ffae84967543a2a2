"""What happens now, to every page that looks on: events, verdicts, levels, spectrograms, scores.

The daemon's thread puts down what it has and goes on; the page's own loop makes messages of it and
gives each onlooker what it asked for. One that does not read loses the oldest.
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
MAX_LIVE = 8
_WAITING = 100
_ALIVE_S = 15.0
_MOST_GLIMPSES = 256
_WINDOW_S = 0.025


@dataclass(frozen=True)
class LiveSnapshot:
    """What was heard of a source since it was last looked at: ``(n,) float32`` at ``rate``, the
    gunshot scores of its frames of ``frame_s`` seconds, the level's RMS, its state in a word."""

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
    """One open page; ``live`` names the sources whose sound it draws."""

    live: frozenset[str]
    waiting: deque[str] = field(default_factory=lambda: deque(maxlen=_WAITING))
    news: asyncio.Event = field(default_factory=asyncio.Event)


class LiveHub:
    """``watching`` and `put` are for any thread, all else is the loop's."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._onlookers: set[LiveViewer] = set()
        self._glimpses: deque[LiveSnapshot] = deque(maxlen=_MOST_GLIMPSES)
        self._left: dict[str, np.ndarray] = {}
        self._over = False
        self.watching = frozenset[str]()

    def begin(self, loop: asyncio.AbstractEventLoop) -> None:
        """The loop that it lives in."""
        self._loop = loop

    def end(self) -> None:
        """Let every onlooker go; from any thread."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._end)

    def publish(self, kind: str, message: dict[str, Any]) -> None:
        """A message for all; from any thread, at once."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._tell, kind, message, None)

    def publish_snapshot(self, glimpse: LiveSnapshot) -> None:
        """What is heard now; from any thread, at once."""
        self._glimpses.append(glimpse)
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._show)

    @property
    def full(self) -> bool:
        """There is no room for another onlooker."""
        return len(self._onlookers) >= MAX_VIEWERS

    async def messages(self, live: frozenset[str]) -> AsyncIterator[str]:
        """Server-sent events for one page, until it goes; nothing where there is no room."""
        if self.full:  # many were let in at once
            yield "retry: 10000\n\n"
            return
        mine = LiveViewer(live)
        self._onlookers.add(mine)
        self._note()
        try:
            yield "retry: 2000\n\n"
            while not self._over:
                try:
                    await asyncio.wait_for(mine.news.wait(), _ALIVE_S)
                except TimeoutError:
                    yield ": alive\n\n"
                mine.news.clear()
                while mine.waiting:
                    yield mine.waiting.popleft()
        finally:
            self._onlookers.discard(mine)
            self._note()

    def _end(self) -> None:
        self._over = True
        for one in self._onlookers:
            one.news.set()

    def _note(self) -> None:
        self.watching = frozenset(name for one in self._onlookers for name in one.live)

    def _tell(self, kind: str, message: dict[str, Any], source: str | None) -> None:
        text = f"event: {kind}\ndata: {json.dumps(message, separators=(',', ':'))}\n\n"
        for one in self._onlookers:
            if source is None or source in one.live:
                one.waiting.append(text)
                one.news.set()

    def _show(self) -> None:
        while self._glimpses:
            glimpse = self._glimpses.popleft()
            if glimpse.source in self.watching:
                self._tell("live", self._drawn(glimpse), glimpse.source)

    def _drawn(self, glimpse: LiveSnapshot) -> dict[str, Any]:
        """The columns that are whole; what is left of the sound waits for the next glimpse."""
        rate = glimpse.rate
        before = self._left.get(glimpse.source, np.zeros(0, np.float32))
        samples = np.concatenate([before[-rate:], glimpse.samples])
        hop = round(spectrogram.HOP_S * rate)
        count = max(0, (len(samples) - round(_WINDOW_S * rate)) // hop + 1)
        columns = spectrogram.spectrogram_levels(samples, rate)[:count]
        self._left[glimpse.source] = samples[count * hop :]
        level = 20.0 * math.log10(max(glimpse.level, 1e-6))
        return {
            "source": glimpse.source,
            "state": glimpse.state,
            "level_dbfs": round(level, 1),
            "threshold": round(glimpse.threshold, 4),
            "scores": [round(score, 3) for score in glimpse.scores],
            "frame_s": glimpse.frame_s,
            "hop_s": spectrogram.HOP_S,
            "columns": base64.b64encode(columns.tobytes()).decode(),
        }
