"""A ring of samples between one writer and one reader, bounded and made once.

The writer never waits: where the reader is too slow the oldest unread samples go, and are
counted. Nothing is allocated for a block. What has been read stays until it is written
over, so a clip's pre-roll can still be fetched.
"""

from __future__ import annotations

import threading

import numpy as np


class RingBuffer:
    """``capacity`` samples of ``channels`` channels, float32; indices count from the first
    sample ever written."""

    def __init__(self, capacity: int, channels: int) -> None:
        if capacity < 1 or channels < 1:
            raise ValueError(f"a ring of {capacity} samples of {channels} channels holds nothing")
        self.capacity, self.channels = capacity, channels
        self._store = np.zeros((capacity, channels), np.float32)
        self._changed = threading.Condition()
        self._written = self._read = self._dropped = 0
        self._closed = False

    @property
    def written(self) -> int:
        """Samples written since the start."""
        with self._changed:
            return self._written

    @property
    def unread(self) -> int:
        """Samples that wait for the reader."""
        with self._changed:
            return self._written - self._read

    @property
    def dropped(self) -> int:
        """Samples that were written over before they were read."""
        with self._changed:
            return self._dropped

    def write(self, samples: np.ndarray) -> int:
        """Add ``(n, channels)`` samples; returns how many unread ones that cost.

        Raises ValueError after `close`, or for another number of channels.
        """
        if samples.ndim != 2 or samples.shape[1] != self.channels:
            raise ValueError(f"{samples.shape} samples for a ring of {self.channels} channels")
        with self._changed:
            if self._closed:
                raise ValueError("the ring is closed")
            count = len(samples)
            kept = samples[max(0, count - self.capacity) :]
            self._copy_in(self._written + count - len(kept), kept)
            self._written += count
            lost = max(0, self._written - self.capacity - self._read)
            self._read += lost
            self._dropped += lost
            self._changed.notify_all()
            return lost

    def read_into(self, out: np.ndarray, timeout: float | None = None) -> tuple[int, int]:
        """Fill the start of ``(n, channels)`` ``out``; returns (index of its first, count).

        Waits until ``out`` can be filled, the ring is closed, or ``timeout`` seconds are
        over, and then takes what there is, possibly nothing. An index that is not where
        the last read ended tells of samples dropped between.
        """
        wanted = min(len(out), self.capacity)
        with self._changed:
            self._changed.wait_for(
                lambda: self._closed or self._written - self._read >= wanted, timeout
            )
            start = self._read
            count = min(wanted, self._written - start)
            self._copy_out(start, out[:count])
            self._read += count
            return start, count

    def copy_history(self, start: int, out: np.ndarray) -> tuple[int, int]:
        """Copy from index ``start`` on, read or not; returns (index of the first, count).

        What is already gone is left out at the front, what is not yet there at the end.
        """
        with self._changed:
            first = max(start, 0, self._written - self.capacity)
            count = max(0, min(start + len(out), self._written) - first)
            self._copy_out(first, out[:count])
            return first, count

    def close(self) -> None:
        """No more will be written; a waiting reader wakes."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    @property
    def ended(self) -> bool:
        """Closed, and everything read."""
        with self._changed:
            return self._closed and self._read == self._written

    def _copy_in(self, index: int, samples: np.ndarray) -> None:
        at = index % self.capacity
        head = min(len(samples), self.capacity - at)
        self._store[at : at + head] = samples[:head]
        self._store[: len(samples) - head] = samples[head:]

    def _copy_out(self, index: int, out: np.ndarray) -> None:
        at = index % self.capacity
        head = min(len(out), self.capacity - at)
        out[:head] = self._store[at : at + head]
        out[head:] = self._store[: len(out) - head]
