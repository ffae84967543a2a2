"""Samples from a pipe: a WAV stream, or raw PCM of a given format."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Literal

import numpy as np

from streamdet.audio.source import Block, SourceError
from streamdet.audio.wav import STREAMING_LENGTHS

Encoding = Literal["s16", "s24", "s32", "f32", "f64", "u8"]
WIDTHS: dict[Encoding, int] = {"s16": 2, "s24": 3, "s32": 4, "f32": 4, "f64": 8, "u8": 1}
BLOCK_S = 0.5
_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE


@dataclass(frozen=True)
class RawFormat:
    """The format of raw PCM, which is little-endian and interleaved. ``rate`` is in Hz."""

    rate: int = 16_000
    channels: int = 1
    encoding: Encoding = "s16"


class PipeSource:
    """A WAV stream if the data starts with "RIFF", otherwise raw PCM in the format ``raw``.

    Raises SourceError if the pipe is empty or its WAV header is not supported. `blocks` raises
    SourceError if the pipe ends before the length in the header.
    """

    def __init__(self, pipe: BinaryIO, raw: RawFormat, name: str = "stdin") -> None:
        self._pipe, self.name = pipe, name
        self._left: int | None = None
        start = self._read(4)
        if not start:
            raise SourceError("bad", f"{name}: empty (0 bytes)")
        if start == b"RIFF":
            self.format, self._left, start = *self._read_wav_header(), b""
        else:
            self.format = raw
        self._start = start
        self.rate, self.channels = self.format.rate, self.format.channels

    def blocks(self) -> Iterator[Block]:
        """Yield blocks of up to half a second as they arrive."""
        step = WIDTHS[self.format.encoding] * self.channels
        size = round(BLOCK_S * self.rate) * step
        pending, at, left = self._start, 0, self._left
        while left is None or left > 0:
            target = size if left is None else min(size, left)
            data = b""
            if len(pending) < target:
                data = self._pipe.read(max(1, target - len(pending)))
            pending += data
            whole = len(pending) // step * step
            if whole:
                samples = decode_pcm(pending[:whole], self.format)
                yield Block(at, samples)
                at += len(samples)
                left = None if left is None else left - whole
                pending = pending[whole:]
            if not data:
                break
        if pending or left:
            raise SourceError(
                "truncated", f"{self.name}: truncated: ends at {at / self.rate:.3f} s"
            )

    def close(self) -> None:
        """Do nothing: the caller owns the pipe."""

    def _read_wav_header(self) -> tuple[RawFormat, int | None]:
        self._read_exactly(4)
        if self._read_exactly(4) != b"WAVE":
            raise SourceError("bad", f"{self.name}: a RIFF stream that is not WAVE")
        fmt: RawFormat | None = None
        while True:
            name, length = struct.unpack("<4sI", self._read_exactly(8))
            if name == b"data":
                if fmt is None:
                    raise SourceError("bad", f"{self.name}: WAV header without a fmt chunk")
                return fmt, None if length in STREAMING_LENGTHS else length
            if length > 1 << 24:
                raise SourceError("bad", f"{self.name}: WAV header chunk of {length} bytes")
            chunk = self._read_exactly(length + length % 2)
            if name == b"fmt ":
                fmt = self._parse_wav_format(chunk)

    def _parse_wav_format(self, chunk: bytes) -> RawFormat:
        if len(chunk) < 16:
            raise SourceError("bad", f"{self.name}: WAV fmt chunk of only {len(chunk)} bytes")
        tag, channels, rate, _, _, bits = struct.unpack("<HHIIHH", chunk[:16])
        if tag == _EXTENSIBLE and len(chunk) >= 26:
            tag = struct.unpack("<H", chunk[24:26])[0]
        encodings: dict[tuple[int, int], Encoding] = {
            (_PCM, 8): "u8", (_PCM, 16): "s16", (_PCM, 24): "s24", (_PCM, 32): "s32",
            (_FLOAT, 32): "f32", (_FLOAT, 64): "f64",
        }  # fmt: skip
        if (tag, bits) not in encodings or not channels or not rate:
            raise SourceError(
                "bad",
                f"{self.name}: unsupported WAV format {tag} ({bits} bits, {channels} channels, "
                f"{rate} Hz); send PCM or float samples",
            )
        return RawFormat(rate, channels, encodings[tag, bits])

    def _read(self, count: int) -> bytes:
        """Read ``count`` bytes, or fewer at the end. A single read of a pipe may return less."""
        data = b""
        while len(data) < count and (part := self._pipe.read(count - len(data))):
            data += part
        return data

    def _read_exactly(self, count: int) -> bytes:
        data = self._read(count)
        if len(data) < count:
            raise SourceError("bad", f"{self.name}: the WAV header is truncated")
        return data


def decode_pcm(raw: bytes, fmt: RawFormat) -> np.ndarray:
    """Decode interleaved little-endian PCM to ``(n, channels) float32`` in [-1, 1]."""
    if fmt.encoding == "u8":
        flat = (np.frombuffer(raw, np.uint8).astype(np.float32) - 128.0) / 128.0
    elif fmt.encoding == "s24":
        padded = np.zeros((len(raw) // 3, 4), np.uint8)
        padded[:, 1:] = np.frombuffer(raw, np.uint8).reshape(-1, 3)
        flat = padded.view("<i4")[:, 0].astype(np.float32) / 2.0**31
    elif fmt.encoding in ("s16", "s32"):
        width = WIDTHS[fmt.encoding]
        flat = np.frombuffer(raw, f"<i{width}").astype(np.float32) / 2.0 ** (8 * width - 1)
    else:
        flat = np.frombuffer(raw, f"<f{WIDTHS[fmt.encoding]}").astype(np.float32)
    return flat.reshape(-1, fmt.channels)
