"""Converts audio of any rate and channel count to 16 kHz mono, chunk by chunk."""

from __future__ import annotations

import numpy as np
import soxr


class ChannelError(ValueError):
    """The source does not have the requested channel."""


class MonoResampler:
    """Downmixes and resamples one source. The output does not depend on the chunking.

    The downmix is the mean of the channels, or one ``channel`` counted from 1, amplified by
    ``gain_db``. Resampling is soxr's at high quality, with its delay removed: the output sample
    ``i`` belongs to the time ``i / to_rate`` of the input. NaN and infinite samples become
    silence, because they would never leave a recurrent state. Raises ChannelError.
    """

    def __init__(
        self,
        from_rate: int,
        channels: int,
        to_rate: int,
        channel: int | None = None,
        gain_db: float = 0.0,
    ) -> None:
        if channel is not None and not 1 <= channel <= channels:
            usable = "1" if channels == 1 else f"1 to {channels}"
            raise ChannelError(f"there is no channel {channel}; use {usable}")
        self._channel = channel
        self._gain = np.float32(10.0 ** (gain_db / 20.0))
        self._resampler = (
            soxr.ResampleStream(from_rate, to_rate, 1, dtype="float32", quality="HQ")
            if from_rate != to_rate
            else None
        )

    def feed(self, samples: np.ndarray) -> np.ndarray:
        """Convert ``(n, channels) float32`` to ``(m,) float32``.

        m varies: the output lags behind by the samples that the resampler holds back.
        """
        mono = self._downmix(samples)
        return mono if self._resampler is None else self._resampler.resample_chunk(mono)

    def finish(self) -> np.ndarray:
        """Return the samples that the resampler held back, ``(m,) float32``."""
        empty = np.zeros(0, np.float32)
        if self._resampler is None:
            return empty
        return self._resampler.resample_chunk(empty, last=True)

    def _downmix(self, samples: np.ndarray) -> np.ndarray:
        mono = downmix(samples, self._channel)
        with np.errstate(invalid="ignore", over="ignore"):
            total = mono.sum(dtype=np.float32)  # faster than a test of every sample
        if not np.isfinite(total) and not np.isfinite(mono).all():
            mono = np.nan_to_num(mono, nan=0.0, posinf=0.0, neginf=0.0)
        if self._gain != 1.0:
            mono = mono * self._gain
        return np.ascontiguousarray(mono, np.float32)


def downmix(samples: np.ndarray, channel: int | None) -> np.ndarray:
    """Reduce ``(n, channels) float32`` to ``(n,)``: one channel, from 1, or the mean of all.

    The mean of a mono source is a view of the input, not a copy.
    """
    if channel is not None:
        return samples[:, channel - 1].copy()
    count = samples.shape[1]
    if count == 1:
        return samples[:, 0]
    # a matrix product is several times as fast as numpy's mean over a short axis
    return samples @ np.full(count, 1.0 / count, np.float32)
