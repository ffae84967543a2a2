"""A sound track of any media file through PyAV (FFmpeg). Wants the extra "media".

Samples are placed by their own presentation times, from where the file begins as players count it
(its earliest stream). Times jitter: what is off by less than 5 ms goes on where it was, a short
gap is silence, a longer one a jump, what overlaps is left out.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from streamdet.audio.ffmpeg import import_pyav, open_container
from streamdet.audio.file import check_readable, samples_per_block
from streamdet.audio.source import MAX_CHANNELS, RATE_RANGE, Block, SourceError

_SLACK_S, _SILENCE_S, _BACK_S, _BEYOND_S = 0.005, 0.5, 1.0, 60.0
_BUFFER = 1 << 18
_MOST_FAULTS = 10_000


class MediaSource:
    """A sound track of a file, or the part of it between two times, in constant memory: the first
    one, the ``track``-th (from 1), or the first in a language ("eng").

    Raises SourceError where there is none; `blocks` raises it, after all that could be decoded,
    where some could not or the file ends too early.
    """

    def __init__(
        self, path: Path, start_s: float = 0.0, end_s: float | None = None, track: str | None = None
    ) -> None:
        check_readable(path)
        self.path, self._av = path, import_pyav(str(path))
        self._file = _ReadableFile(path)
        try:
            # a file object and no protocol: what a playlist names is not opened
            self._container: Any = open_container(self._av, self._file, buffer_size=_BUFFER)
            self._stream = self._choose_stream(track)
            codec = self._stream.codec_context
            if codec is None:
                raise SourceError("bad", f"{path}: FFmpeg has no decoder for its sound track")
            self.rate, self.channels = int(codec.sample_rate), int(codec.channels)
        except (self._av.error.FFmpegError, OSError, ValueError) as error:
            self._file.close()
            raise SourceError("bad", f"{path}: not media that FFmpeg reads") from error
        except SourceError:
            self.close()
            raise
        if (
            not RATE_RANGE[0] <= self.rate <= RATE_RANGE[1]
            or not 1 <= self.channels <= MAX_CHANNELS
        ):
            self.close()
            said = f"{self.rate} Hz in {self.channels} channels"
            raise SourceError("bad", f"{path}: {said} is no audio")
        begins = self._container.start_time or 0
        self._origin = Fraction(begins, 1_000_000)
        length = self._container.duration
        self.seconds = None if length is None else max(0.0, length / 1e6)
        self._first = round(start_s * self.rate)
        self._last = None if end_s is None else round(end_s * self.rate)
        if self.seconds is not None and start_s > self.seconds:
            self.close()
            raise SourceError("bad", f"{path}: nothing to hear: --start lies behind its "
                              f"{self.seconds:.3f} s")  # fmt: skip
        self._faults: list[float] = []
        self._seen_s = 0.0
        self._next = self._first

    @property
    def samples_to_read(self) -> int | None:
        """About how many samples a channel `blocks` will give, None if nobody knows."""
        if self._last is not None:
            return self._last - self._first
        return None if self.seconds is None else round(self.seconds * self.rate) - self._first

    def blocks(self) -> Iterator[Block]:
        """Blocks of 2 s, shorter before a jump."""
        waiting: list[np.ndarray] = []
        start, held, most = 0, 0, samples_per_block(self.rate, self.channels)
        for at, samples in self._aligned_frames():
            if waiting and (at != start + held or held >= most):
                yield Block(start, np.concatenate(waiting))
                waiting, held = [], 0
            if not waiting:
                start = at
            waiting.append(samples)
            held += len(samples)
        if waiting:
            yield Block(start, np.concatenate(waiting))
        self._raise_faults()

    def close(self) -> None:
        """Close the file."""
        with contextlib.suppress(AttributeError):
            self._container.close()
        self._file.close()

    def _choose_stream(self, track: str | None) -> Any:
        streams = list(self._container.streams.audio)
        if not streams:
            raise SourceError("bad", f"{self.path}: no sound track in it")
        if track is None:
            return streams[0]
        if track.isdigit():
            if not 1 <= int(track) <= len(streams):
                raise SourceError(
                    "bad", f"{self.path}: no track {track}; it has {_listed(streams)}"
                )
            return streams[int(track) - 1]
        for stream in streams:
            if stream.language == track:
                return stream
        raise SourceError("bad", f"{self.path}: no track in {track!r}; it has {_listed(streams)}")

    def _aligned_frames(self) -> Iterator[tuple[int, np.ndarray]]:
        """(index, ``(n, channels)``) in order, without overlap, between start and end."""
        shift = 0
        for index, samples in self._decoded():
            at = self._next if index is None else index + shift
            off = (at - self._next) / self.rate
            beyond = self.seconds is not None and at / self.rate > self.seconds + _BEYOND_S
            if self._next > self._first and (off < -_BACK_S or beyond):
                shift += self._next - at  # a clock that was set: time goes on as it did
                at = self._next
                self._fault()
            elif abs(off) < _SLACK_S and self._next > self._first:
                at = self._next
            if at < self._next:
                samples, at = samples[self._next - at :], self._next
            elif 0 < at - self._next < _SILENCE_S * self.rate and self._next > self._first:
                silence = np.zeros((at - self._next, self.channels), np.float32)
                yield self._next, silence
            if self._last is not None:
                samples = samples[: max(0, self._last - at)]
            if len(samples):
                self._next = at + len(samples)
                yield at, samples
            elif self._last is not None and at >= self._last:
                return

    def _decoded(self) -> Iterator[tuple[int | None, np.ndarray]]:
        """(presentation time in samples, samples) of every frame that can be decoded."""
        errors, stream = self._av.error, self._stream
        if self._first:
            with contextlib.suppress(errors.FFmpegError):
                to = int((self._origin + Fraction(self._first, self.rate)) * 1_000_000)
                self._container.seek(max(0, to - 1_000_000), backward=True)
        same, index = _UniformFrames(self._av, stream), _SampleIndex(self._origin, self.rate)
        # where the track's own header has no length, the other tracks tell how far the file goes
        packets = self._container.demux(*([stream] if self._declared_end_s() else []))
        while len(self._faults) < _MOST_FAULTS:
            try:
                packet = next(packets)
            except StopIteration:
                return
            except IndexError:  # a packet of a stream that the head did not name
                packets = self._container.demux(*([stream] if self._declared_end_s() else []))
                continue
            except (errors.FFmpegError, OSError, ValueError):
                self._fault()
                return  # the container itself is broken here
            if packet.stream_index != stream.index:
                self._see(packet)
                continue
            try:
                frames = packet.decode()
            except (errors.FFmpegError, ValueError):
                self._fault()
                continue
            for frame in frames:
                try:
                    samples = same.of(frame)
                except (errors.FFmpegError, ValueError):
                    self._fault()
                    continue
                if len(samples):
                    yield index.of(frame), samples

    def _see(self, packet: Any) -> None:
        if packet.pts is not None and packet.time_base is not None:
            self._seen_s = max(self._seen_s, float(packet.pts * packet.time_base - self._origin))

    def _fault(self) -> None:
        self._faults.append(self._next / self.rate)

    def _raise_faults(self) -> None:
        if self._faults:
            more = f" and {len(self._faults) - 1} times more" if len(self._faults) > 1 else ""
            where = f"{self.path}: damaged at {self._faults[0]:.3f} s{more}"
            raise SourceError("truncated", f"{where}; what could be decoded was heard")
        due, ends = self._declared_end_s(), self._next / self.rate
        if not due:
            due, ends = self.seconds or 0.0, max(ends, self._seen_s)
        if self._last is None and ends < due - 1.0:
            where = f"ends at {ends:.3f} s of {due:.3f} s"
            raise SourceError("truncated", f"{self.path}: truncated: {where}")

    def _declared_end_s(self) -> float:
        """Where the track ends by its own header; 0 where that says nothing."""
        stream = self._stream
        if tagged := re.fullmatch(r"(\d+):(\d\d):(\d\d\.\d+)", stream.metadata.get("DURATION", "")):
            return int(tagged[1]) * 3_600 + int(tagged[2]) * 60 + float(tagged[3])  # Matroska
        if stream.duration is None or stream.time_base is None:
            return 0.0
        begins = (stream.start_time or 0) * stream.time_base - self._origin
        return float(begins + stream.duration * stream.time_base)


class _ReadableFile:
    """A file to be read; where a broken one makes FFmpeg seek to nowhere it says so."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")
        self.name = str(path)

    def read(self, size: int) -> bytes:
        return self._file.read(size)

    def tell(self) -> int:
        return self._file.tell()

    def seek(self, offset: int, whence: int = 0) -> int:
        try:
            return self._file.seek(offset, whence)
        except (OSError, ValueError, OverflowError):
            return -1

    def close(self) -> None:
        self._file.close()


class _SampleIndex:
    """Presentation times as samples since the file's origin, in whole numbers: a film has fifty
    frames of sound a second, for each of which fractions would cost as much as decoding it."""

    def __init__(self, origin: Fraction, rate: int) -> None:
        self._origin, self._rate = origin, rate
        self._base: Fraction | None = None
        self._scale = self._offset = self._over = 1

    def of(self, frame: Any) -> int | None:
        """None where the frame has no time."""
        if frame.pts is None:
            return None
        if (base := frame.time_base) != self._base:
            self._base = base
            scale, offset = base * self._rate, self._origin * self._rate
            self._over = scale.denominator * offset.denominator
            self._scale = scale.numerator * offset.denominator
            self._offset = offset.numerator * scale.denominator
        return (2 * (frame.pts * self._scale - self._offset) + self._over) // (2 * self._over)


class _UniformFrames:
    """Frames as float32 of the rate and channels that the track began with."""

    def __init__(self, av: Any, stream: Any) -> None:
        self._av = av
        self._rate = int(stream.codec_context.sample_rate)
        self._channels = int(stream.codec_context.channels)
        self._layout = stream.codec_context.layout.name
        self._plain = ("fltp", self._layout, self._rate)
        self._form: tuple[Any, ...] | None = None
        self._resampler: Any = None

    def of(self, frame: Any) -> np.ndarray:
        """``(n, channels) float32``; n is the frame's own while its form does not change."""
        form = (frame.format.name, frame.layout.name, frame.sample_rate)
        if form == self._plain and self._form is None:  # what most codecs give is what is wanted
            return frame.to_ndarray().T
        if form != self._form:
            self._form = form
            self._resampler = self._av.AudioResampler("flt", self._layout, self._rate)
        made = [f.to_ndarray().reshape(-1, self._channels) for f in self._resampler.resample(frame)]
        return np.concatenate(made) if made else np.zeros((0, self._channels), np.float32)


def _listed(streams: list[Any]) -> str:
    return ", ".join(f"{i} ({s.language or 'no language'})" for i, s in enumerate(streams, 1))
