"""Follows the loudest of several channels."""

from __future__ import annotations

import math
from collections import deque

import numpy as np

WINDOW_S, FADE_S, DIFFERENCE_S = 0.02, 0.005, 0.0005
_SWITCH_MARGIN = math.log(4.0)
"""6 dB, in natural log power."""
_DECAY = math.log(10.0) * 6.0 * WINDOW_S
"""Held levels fall by 60 dB per second: so much per window, in natural log power."""
_FLOOR = 1e-12
_HISTORY_S = 60.0


class LoudestChannel:
    """One signal out of several channels: the loudest, until another is 6 dB louder.

    Loudness is the power of the difference of samples half a millisecond apart, which attenuates
    120 Hz by 12 dB: the rumble of a bass channel does not hide a shot. The decision is made on
    whole windows of 20 ms before they are passed on, so a shot does not start in the wrong
    channel. A switch is a crossfade of 5 ms. The output does not depend on the chunking.
    """

    def __init__(self, rate: int, channels: int) -> None:
        self._window, self._fade = max(2, round(WINDOW_S * rate)), max(1, round(FADE_S * rate))
        self._lag = max(1, round(DIFFERENCE_S * rate))
        self._levels = np.full(channels, math.log(_FLOOR))
        self._pending = np.zeros((0, channels), np.float32)
        self._channel, self._done = 0, 0
        self._changes: deque[tuple[int, int]] = deque([(0, 0)])
        self._history = round(_HISTORY_S * rate)

    def feed(self, samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Add ``(n, channels) float32`` samples.

        Returns the windows completed so far: all channels, ``(m, channels) float32``, and the
        loudest, ``(m,) float32``.
        """
        clean = (
            samples
            if np.isfinite(samples).all()
            else np.nan_to_num(samples, nan=0.0, posinf=0.0, neginf=0.0)
        )
        if len(self._pending):
            clean = np.concatenate([self._pending, clean])
        whole = len(clean) // self._window * self._window
        self._pending = clean[whole:].copy()
        return clean[:whole], self._follow(clean[:whole])

    def finish(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the last incomplete window, from the channel that was the loudest before it."""
        rest, self._pending = self._pending, self._pending[:0]
        self._done += len(rest)
        return rest, rest[:, self._channel].copy()

    def channel_at(self, sample: int) -> int:
        """Return the channel, from 1, that was followed at a sample of the last minute."""
        followed = self._changes[0][1]
        for start, channel in self._changes:
            if start > sample:
                break
            followed = channel
        return followed + 1

    def _follow(self, whole: np.ndarray) -> np.ndarray:
        out = whole[:, self._channel].copy()
        for window, channel in self._switches(whole):
            start, previous = window * self._window, self._channel
            ramp = np.arange(1, self._fade + 1, dtype=np.float32) / np.float32(self._fade)
            out[start:] = whole[start:, channel]
            fade = slice(start, start + self._fade)
            out[fade] = whole[fade, previous] * (1.0 - ramp) + whole[fade, channel] * ramp
            self._channel = channel
            self._changes.append((self._done + start, channel))
        self._done += len(whole)
        while len(self._changes) > 1 and self._changes[1][0] < self._done - self._history:
            self._changes.popleft()
        return out

    def _switches(self, whole: np.ndarray) -> list[tuple[int, int]]:
        """Return (window, channel) of each switch, in order."""
        windows = whole.reshape(-1, self._window, whole.shape[1])
        if not len(windows):
            return []
        steps = windows[:, self._lag :] - windows[:, : -self._lag]
        powers = np.log(np.einsum("wsc,wsc->wc", steps, steps).astype(np.float64) + _FLOOR)
        # the held level is max(level - decay, power); adding the decay back makes it a running max
        decay = _DECAY * np.arange(len(powers) + 1)[:, None]
        raised = np.maximum.accumulate(np.concatenate([self._levels[None], powers]) + decay)
        levels = (raised - decay)[1:]
        self._levels = levels[-1]
        switches, channel, first = [], self._channel, 0
        loudest, highest = levels.argmax(axis=1), levels.max(axis=1)
        while True:
            ahead = np.flatnonzero(highest[first:] - levels[first:, channel] > _SWITCH_MARGIN)
            if not len(ahead):
                return switches
            first += int(ahead[0])
            channel = int(loudest[first])
            switches.append((first, channel))
