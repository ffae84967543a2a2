"""The loudest channel of several, followed from one to the next."""

from __future__ import annotations

import math
from collections import deque

import numpy as np

WINDOW_S, FADE_S, APART_S = 0.02, 0.005, 0.0005
_LEAD = math.log(4.0)
_FALL = math.log(10.0) * 6.0 * WINDOW_S
"""Held levels sink by 60 dB in a second."""
_FLOOR = 1e-12
_KEPT_S = 60.0


class LoudestChannel:
    """One signal out of the channels: that of the loudest, until another is 6 dB louder.

    Louder in the difference of samples half a millisecond apart, in which 120 Hz is 12 dB down: the
    rumble of a bass channel does not win over what can be told apart. A window of 20 ms is judged
    whole before it goes on, so a shot is not begun in another channel; the change itself is faded
    over 5 ms. The same samples come out for any chunking.
    """

    def __init__(self, rate: int, channels: int) -> None:
        self._window, self._fade = max(2, round(WINDOW_S * rate)), max(1, round(FADE_S * rate))
        self._apart = max(1, round(APART_S * rate))
        self._held = np.full(channels, math.log(_FLOOR))
        self._pending = np.zeros((0, channels), np.float32)
        self._channel, self._done = 0, 0
        self._changes: deque[tuple[int, int]] = deque([(0, 0)])
        self._kept = round(_KEPT_S * rate)

    def feed(self, samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """``(n, channels) float32`` in; ``(m, channels)`` and ``(m,)`` out: all channels of the
        windows that are whole by now, and the loudest of each."""
        clean = (
            samples
            if np.isfinite(samples).all()
            else np.nan_to_num(samples, nan=0.0, posinf=0.0, neginf=0.0)
        )
        if len(self._pending):
            clean = np.concatenate([self._pending, clean])
        whole = len(clean) // self._window * self._window
        self._pending = clean[whole:].copy()
        return clean[:whole], self._followed(clean[:whole])

    def finish(self) -> tuple[np.ndarray, np.ndarray]:
        """What is less than a window, from the channel that was the loudest last."""
        rest, self._pending = self._pending, self._pending[:0]
        self._done += len(rest)
        return rest, rest[:, self._channel].copy()

    def channel_at(self, sample: int) -> int:
        """Which one, from 1, was followed at a sample of the last minute."""
        followed = self._changes[0][1]
        for at, channel in self._changes:
            if at > sample:
                break
            followed = channel
        return followed + 1

    def _followed(self, whole: np.ndarray) -> np.ndarray:
        picked = whole[:, self._channel].copy()
        for window, channel in self._switches(whole):
            at, before = window * self._window, self._channel
            ramp = np.arange(1, self._fade + 1, dtype=np.float32) / np.float32(self._fade)
            picked[at:] = whole[at:, channel]
            faded = slice(at, at + self._fade)
            picked[faded] = whole[faded, before] * (1.0 - ramp) + whole[faded, channel] * ramp
            self._channel = channel
            self._changes.append((self._done + at, channel))
        self._done += len(whole)
        while len(self._changes) > 1 and self._changes[1][0] < self._done - self._kept:
            self._changes.popleft()
        return picked

    def _switches(self, whole: np.ndarray) -> list[tuple[int, int]]:
        """(window, channel) of each change, in order."""
        windows = whole.reshape(-1, self._window, whole.shape[1])
        if not len(windows):
            return []
        steps = windows[:, self._apart :] - windows[:, : -self._apart]
        levels = np.log(np.einsum("wsc,wsc->wc", steps, steps).astype(np.float64) + _FLOOR)
        sunk = _FALL * np.arange(len(levels) + 1)[:, None]
        raised = np.maximum.accumulate(np.concatenate([self._held[None], levels]) + sunk)
        held = (raised - sunk)[1:]
        self._held = held[-1]
        found, channel, first = [], self._channel, 0
        loudest, most = held.argmax(axis=1), held.max(axis=1)
        while True:
            ahead = np.flatnonzero(most[first:] - held[first:, channel] > _LEAD)
            if not len(ahead):
                return found
            first += int(ahead[0])
            channel = int(loudest[first])
            found.append((first, channel))
