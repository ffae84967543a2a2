"""An audio track of any media file, through PyAV (FFmpeg). Needs the extra "media".

Samples are placed by their presentation times, counted from the start of the file as players count
it (its earliest stream). These times jitter: an offset of less than 5 ms is ignored, a gap of less
than 0.5 s becomes silence, a longer gap is a jump in the index, and overlapping samples are
dropped.
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

_JITTER_S, _SILENCE_S = 0.005, 0.5
_MAX_BACKWARD_S, _MAX_BEYOND_END_S = 1.0, 60.0
"""A time that is further back, or further beyond the end of the file, is a fault of the file."""
_BUFFER_BYTES = 1 << 18
_MAX_FAULTS = 10_000


class MediaSource:
    """An audio track of a file, or the part of it between two times, in constant memory.

    ``track`` is a number from 1, or a language code such as "eng", which selects the first track
    in that language. Default: the first track.

    Raises SourceError if the file or the track cannot be read. `blocks` raises SourceError, after
    all samples that can be decoded, if some cannot be decoded or the file ends too early.
    """

    def __init__(
        self, path: Path, start_s: float = 0.0, end_s: float | None = None, track: str | None = None
    ) -> None:
        check_readable(path)
        self.path, self._av = path, import_pyav(str(path))
        self._file = _ReadableFile(path)
        try:
            # a file object and no protocol: the files that a playlist names are not opened
            self._container: Any = open_container(self._av, self._file, buffer_size=_BUFFER_BYTES)
            self._stream = self._choose_stream(track)
            codec = self._stream.codec_context
            if codec is None:
                raise SourceError("bad", f"{path}: FFmpeg has no decoder for its audio track")
            self.rate, self.channels = int(codec.sample_rate), int(codec.channels)
        except (self._av.error.FFmpegError, OSError, ValueError) as error:
            self._file.close()
            raise SourceError("bad", f"{path}: not a media file that FFmpeg can read") from error
        except SourceError:
            self.close()
            raise
        self._origin = Fraction(self._container.start_time or 0, 1_000_000)
        length = self._container.duration
        self.seconds = None if length is None else max(0.0, length / 1e6)
        self._first = round(start_s * self.rate)
        self._last = None if end_s is None else round(end_s * self.rate)
        if fault := self._range_fault(start_s):
            self.close()
            raise SourceError("bad", f"{path}: {fault}")
        self._fault_times_s: list[float] = []
        self._last_packet_s = 0.0
        self._next = self._first

    @property
    def samples_to_read(self) -> int | None:
        """The approximate number of samples per channel that `blocks` yields; None if unknown."""
        if self._last is not None:
            return self._last - self._first
        return None if self.seconds is None else round(self.seconds * self.rate) - self._first

    def blocks(self) -> Iterator[Block]:
        """Yield blocks of 2 s, shorter before a jump."""
        pending: list[np.ndarray] = []
        start, count, limit = 0, 0, samples_per_block(self.rate, self.channels)
        for at, samples in self._aligned_frames():
            if pending and (at != start + count or count >= limit):
                yield Block(start, np.concatenate(pending))
                pending, count = [], 0
            if not pending:
                start = at
            pending.append(samples)
            count += len(samples)
        if pending:
            yield Block(start, np.concatenate(pending))
        self._raise_faults()

    def close(self) -> None:
        """Close the file."""
        with contextlib.suppress(AttributeError):
            self._container.close()
        self._file.close()

    def _choose_stream(self, track: str | None) -> Any:
        streams = list(self._container.streams.audio)
        if not streams:
            raise SourceError("bad", f"{self.path}: no audio track in it")
        if track is None:
            return streams[0]
        if track.isdigit() and 1 <= int(track) <= len(streams):
            return streams[int(track) - 1]
        for stream in streams:
            if stream.language == track:
                return stream
        tracks = ", ".join(f"{i} ({s.language or 'no language'})" for i, s in enumerate(streams, 1))
        raise SourceError("bad", f"{self.path}: no audio track {track}; use --track with {tracks}")

    def _range_fault(self, start_s: float) -> str:
        lowest, highest = RATE_RANGE
        if not (lowest <= self.rate <= highest and 1 <= self.channels <= MAX_CHANNELS):
            return f"unsupported format: {self.rate} Hz, {self.channels} channels"
        if self.seconds is not None and start_s > self.seconds:
            return f"--start {start_s:g} s is after its end at {self.seconds:.3f} s"
        return ""

    def _aligned_frames(self) -> Iterator[tuple[int, np.ndarray]]:
        """Yield (index, ``(n, channels)``) in order, without overlap, between start and end."""
        shift = 0
        for index, samples in self._decoded_frames():
            at = self._next if index is None else index + shift
            offset_s = (at - self._next) / self.rate
            beyond = self.seconds is not None and at / self.rate > self.seconds + _MAX_BEYOND_END_S
            if self._next > self._first and (offset_s < -_MAX_BACKWARD_S or beyond):
                shift += self._next - at  # the file's clock was set: continue without a jump
                at = self._next
                self._record_fault()
            elif abs(offset_s) < _JITTER_S and self._next > self._first:
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

    def _decoded_frames(self) -> Iterator[tuple[int | None, np.ndarray]]:
        """Yield (presentation time in samples, samples) of every frame that can be decoded."""
        errors, stream = self._av.error, self._stream
        if self._first:
            with contextlib.suppress(errors.FFmpegError):
                target = int((self._origin + Fraction(self._first, self.rate)) * 1_000_000)
                self._container.seek(max(0, target - 1_000_000), backward=True)
        converter = _FrameConverter(self._av, stream)
        clock = _FrameClock(self._origin, self.rate)
        packets = self._packets()
        while len(self._fault_times_s) < _MAX_FAULTS:
            try:
                packet = next(packets)
            except StopIteration:
                return
            except IndexError:  # a packet of a stream that the header does not name
                packets = self._packets()
                continue
            except (errors.FFmpegError, OSError, ValueError):
                self._record_fault()
                return  # the container itself is broken here
            if packet.stream_index != stream.index:
                self._record_packet_time(packet)
                continue
            try:
                frames = packet.decode()
            except (errors.FFmpegError, ValueError):
                self._record_fault()
                continue
            for frame in frames:
                try:
                    samples = converter.convert(frame)
                except (errors.FFmpegError, ValueError):
                    self._record_fault()
                    continue
                if len(samples):
                    yield clock.sample_index(frame), samples

    def _packets(self) -> Iterator[Any]:
        """Read the audio track, and the other tracks too if only they show the file's length."""
        return self._container.demux(*([self._stream] if self._declared_end_s() else []))

    def _record_packet_time(self, packet: Any) -> None:
        if packet.pts is not None and packet.time_base is not None:
            time_s = float(packet.pts * packet.time_base - self._origin)
            self._last_packet_s = max(self._last_packet_s, time_s)

    def _record_fault(self) -> None:
        self._fault_times_s.append(self._next / self.rate)

    def _raise_faults(self) -> None:
        if self._fault_times_s:
            others = len(self._fault_times_s) - 1
            more = f" and at {others} more places" if others else ""
            raise SourceError(
                "truncated",
                f"{self.path}: damaged at {self._fault_times_s[0]:.3f} s{more}; the part that can"
                " be decoded was analysed",
            )
        expected_s, end_s = self._declared_end_s(), self._next / self.rate
        if not expected_s:
            expected_s, end_s = self.seconds or 0.0, max(end_s, self._last_packet_s)
        if self._last is None and end_s < expected_s - 1.0:
            raise SourceError(
                "truncated", f"{self.path}: truncated: ends at {end_s:.3f} s of {expected_s:.3f} s"
            )

    def _declared_end_s(self) -> float:
        """The end of the track by its own header; 0 if the header does not state it."""
        stream = self._stream
        if tag := re.fullmatch(r"(\d+):(\d\d):(\d\d\.\d+)", stream.metadata.get("DURATION", "")):
            return int(tag[1]) * 3_600 + int(tag[2]) * 60 + float(tag[3])  # Matroska
        if stream.duration is None or stream.time_base is None:
            return 0.0
        start_s = (stream.start_time or 0) * stream.time_base - self._origin
        return float(start_s + stream.duration * stream.time_base)


class _ReadableFile:
    """A file for FFmpeg, whose `seek` returns -1 if a broken file names an invalid position."""

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


class _FrameClock:
    """Converts presentation times to sample indices since the origin of the file.

    It uses integers: a film has about fifty audio frames per second, and a `Fraction` for each
    would cost as much as decoding it.
    """

    def __init__(self, origin: Fraction, rate: int) -> None:
        self._origin, self._rate = origin, rate
        self._base: Fraction | None = None
        self._scale = self._offset = self._divisor = 1

    def sample_index(self, frame: Any) -> int | None:
        """Return the index of the first sample of a frame; None if the frame has no time."""
        if frame.pts is None:
            return None
        if (base := frame.time_base) != self._base:
            self._base = base
            scale, offset = base * self._rate, self._origin * self._rate
            self._divisor = scale.denominator * offset.denominator
            self._scale = scale.numerator * offset.denominator
            self._offset = offset.numerator * scale.denominator
        position = frame.pts * self._scale - self._offset
        return (2 * position + self._divisor) // (2 * self._divisor)  # rounded


class _FrameConverter:
    """Converts frames to float32 at the rate and channel count of the start of the track."""

    def __init__(self, av: Any, stream: Any) -> None:
        self._av = av
        self._rate = int(stream.codec_context.sample_rate)
        self._channels = int(stream.codec_context.channels)
        self._layout = stream.codec_context.layout.name
        self._native = ("fltp", self._layout, self._rate)
        self._form: tuple[Any, ...] | None = None
        self._resampler: Any = None

    def convert(self, frame: Any) -> np.ndarray:
        """Return ``(n, channels) float32``; n is the frame's own while its form is unchanged."""
        form = (frame.format.name, frame.layout.name, frame.sample_rate)
        if form == self._native and self._form is None:  # most codecs: nothing to convert
            return frame.to_ndarray().T
        if form != self._form:
            self._form = form
            self._resampler = self._av.AudioResampler("flt", self._layout, self._rate)
        parts = [
            f.to_ndarray().reshape(-1, self._channels) for f in self._resampler.resample(frame)
        ]
        return np.concatenate(parts) if parts else np.zeros((0, self._channels), np.float32)
