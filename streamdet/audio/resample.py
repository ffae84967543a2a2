"""Any rate and channel count to 16 kHz mono, with the state that takes."""

from __future__ import annotations

import numpy as np
import soxr


class ChannelError(ValueError):
    """The channel asked for is not in the source."""


class MonoResampler:
    """Downmix and resample one source; the same samples come out for any chunking.

    The downmix is the mean of the channels, or one channel, counted from 1, made louder by
    ``gain_db``. Resampling is soxr's at high quality, whose linear phase is made up for:
    sample ``i`` out belongs to the time ``i / to_rate`` in. Not-a-number and infinite samples
    are heard as silence, since one would stay in a recurrent state for ever.
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
            raise ChannelError(f"there is no channel {channel}; it has 1 to {channels}")
        self._channel = channel
        self._gain = np.float32(10.0 ** (gain_db / 20.0))
        self._resampler = (
            soxr.ResampleStream(from_rate, to_rate, 1, dtype="float32", quality="HQ")
            if from_rate != to_rate
            else None
        )

    def feed(self, samples: np.ndarray) -> np.ndarray:
        """``(n, channels) float32`` in, ``(m,) float32`` out; m varies, and lags by what
        the resampler still holds."""
        mono = self._downmixed(samples)
        return mono if self._resampler is None else self._resampler.resample_chunk(mono)

    def finish(self) -> np.ndarray:
        """What the resampler still held, ``(m,) float32``."""
        nothing = np.zeros(0, np.float32)
        if self._resampler is None:
            return nothing
        return self._resampler.resample_chunk(nothing, last=True)

    def _downmixed(self, samples: np.ndarray) -> np.ndarray:
        mono = downmix(samples, self._channel)
        if not np.isfinite(mono).all():
            mono = np.nan_to_num(mono, nan=0.0, posinf=0.0, neginf=0.0)
        if self._gain != 1.0:
            mono = mono * self._gain
        return np.ascontiguousarray(mono, np.float32)


def downmix(samples: np.ndarray, channel: int | None) -> np.ndarray:
    """``(n, channels) float32`` as ``(n,)``: one channel, from 1, or their mean; a copy but where
    there is one channel alone."""
    if channel is not None:
        return samples[:, channel - 1].copy()
    count = samples.shape[1]
    if count == 1:
        return samples[:, 0]
    # a product is several times as fast as numpy's mean over a short axis
    return samples @ np.full(count, 1.0 / count, np.float32)
