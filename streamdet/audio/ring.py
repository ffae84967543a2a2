"""A bounded ring buffer of samples between one writer and one reader.

The writer never waits. If the reader is too slow, the oldest unread samples are dropped and
counted. No memory is allocated per block. Samples that were read stay until they are overwritten,
so that a clip can include the time before an event.
"""

from __future__ import annotations

import threading

import numpy as np


class RingBuffer:
    """``capacity`` samples of ``channels`` channels, float32.

    Indices count from the first sample ever written.
    """

    def __init__(self, capacity: int, channels: int) -> None:
        if capacity < 1 or channels < 1:
            raise ValueError(
                f"capacity {capacity} and channels {channels} of a ring buffer must be at least 1"
            )
        self.capacity, self.channels = capacity, channels
        self._store = np.zeros((capacity, channels), np.float32)
        self._changed = threading.Condition()
        self._written = self._read = self._dropped = 0
        self._closed = False

    @property
    def written(self) -> int:
        """The number of samples written since the start."""
        with self._changed:
            return self._written

    @property
    def unread(self) -> int:
        """The number of samples that wait for the reader."""
        with self._changed:
            return self._written - self._read

    @property
    def dropped(self) -> int:
        """The number of samples that were overwritten before they were read."""
        with self._changed:
            return self._dropped

    def write(self, samples: np.ndarray) -> int:
        """Add ``(n, channels)`` samples. Returns the number of unread samples that were dropped.

        Raises ValueError after `close`, or for another number of channels.
        """
        if samples.ndim != 2 or samples.shape[1] != self.channels:
            raise ValueError(
                f"samples have the shape {samples.shape}; expected (n, {self.channels}) for a ring"
                f" buffer of {self.channels} channels"
            )
        with self._changed:
            if self._closed:
                raise ValueError("the ring buffer is closed")
            count = len(samples)
            newest = samples[max(0, count - self.capacity) :]
            self._copy_in(self._written + count - len(newest), newest)
            self._written += count
            lost = max(0, self._written - self.capacity - self._read)
            self._read += lost
            self._dropped += lost
            self._changed.notify_all()
            return lost

    def read_into(self, out: np.ndarray, timeout: float | None = None) -> tuple[int, int]:
        """Read into the start of ``out``, ``(n, channels)``. Returns (first index, count).

        Waits until ``out`` can be filled, the ring buffer is closed, or ``timeout`` seconds have
        passed. Then reads what is available, which may be nothing. If the first index is not where
        the last read ended, the samples between were dropped.
        """
        target = min(len(out), self.capacity)
        with self._changed:
            self._changed.wait_for(
                lambda: self._closed or self._written - self._read >= target, timeout
            )
            start = self._read
            count = min(target, self._written - start)
            self._copy_out(start, out[:count])
            self._read += count
            return start, count

    def copy_history(self, start: int, out: np.ndarray) -> tuple[int, int]:
        """Copy samples from index ``start`` on, read or unread. Returns (first index, count).

        Samples that were overwritten are left out at the front, samples that are not yet written
        at the end.
        """
        with self._changed:
            first = max(start, 0, self._written - self.capacity)
            count = max(0, min(start + len(out), self._written) - first)
            self._copy_out(first, out[:count])
            return first, count

    def close(self) -> None:
        """End the writing. A waiting reader wakes."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    @property
    def ended(self) -> bool:
        """Whether the ring buffer is closed and all samples were read."""
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
