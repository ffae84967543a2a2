"""Audio files through libsndfile: WAV, FLAC, Ogg, Opus, MP3 and its other formats."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path

import soundfile

from streamdet.audio.source import RATE_RANGE, Block, SourceError
from streamdet.audio.wav import STREAMING_LENGTHS

BLOCK_S, MAX_SAMPLES = 2.0, 1 << 21
"""Length of a block in seconds, and its limit in samples of all channels together."""


class FileSource:
    """A file, or the part of it between two times, read in constant memory.

    Raises SourceError if the file is missing, empty, a folder, unreadable or not audio, or if
    ``start_s`` is after its end. `blocks` raises SourceError, after all samples that can be read,
    if the file ends before the length in its header.
    """

    def __init__(self, path: Path, start_s: float = 0.0, end_s: float | None = None) -> None:
        self.path = path
        check_readable(path)
        try:
            # as bytes: a file name may be invalid UTF-8, which soundfile cannot encode
            self._file = soundfile.SoundFile(os.fsencode(path))  # pyright: ignore[reportArgumentType]
        except (soundfile.LibsndfileError, OSError) as error:
            raise SourceError(
                "bad", f"{path}: libsndfile cannot read it: {_cause(error)}", try_other_reader=True
            ) from error
        self.rate, self.channels = self._file.samplerate, self._file.channels
        self.frames = self._file.frames
        self._first = round(start_s * self.rate)
        self._last = self.frames if end_s is None else min(self.frames, round(end_s * self.rate))
        if fault := self._range_fault(start_s):
            self.close()
            raise SourceError("bad", f"{path}: {fault}")

    def _range_fault(self, start_s: float) -> str:
        if not RATE_RANGE[0] <= self.rate <= RATE_RANGE[1]:
            return f"unsupported sample rate {self.rate} Hz"
        if self.frames == 0:
            return "no audio in it (0 samples)"
        if self._first >= self.frames:
            return f"--start {start_s:g} s is after its end at {self.seconds:.3f} s"
        if self._first >= self._last:
            return f"--start {start_s:g} s is not before --end"
        return ""

    @property
    def seconds(self) -> float:
        """The length of the whole file in seconds, from its header."""
        return self.frames / self.rate

    @property
    def samples_to_read(self) -> int:
        """The number of samples per channel that `blocks` yields."""
        return self._last - self._first

    def blocks(self) -> Iterator[Block]:
        """Yield blocks of 2 s, the last one shorter. Damage loses one block at most."""
        size, at = samples_per_block(self.rate, self.channels), self._first
        try:
            if at:
                self._file.seek(at)
            while at < self._last:
                samples = self._file.read(min(size, self._last - at), "float32", always_2d=True)
                if not len(samples):
                    break
                yield Block(at, samples)
                at += len(samples)
        except soundfile.LibsndfileError as error:
            raise SourceError(
                "truncated", f"{self.path}: damaged at {at / self.rate:.3f} s: {_cause(error)}"
            ) from error
        if at < self._last:
            end_s, expected_s = at / self.rate, self._last / self.rate
            raise SourceError(
                "truncated", f"{self.path}: truncated: ends at {end_s:.3f} s of {expected_s:.3f} s"
            )
        if self._last == self.frames and (missing := _describe_missing_data(self.path)):
            raise SourceError(
                "truncated",
                f"{self.path}: truncated: {missing}; the {self.seconds:.3f} s in it were analysed",
            )

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def samples_per_block(rate: int, channels: int) -> int:
    """Return the number of samples per channel in a block."""
    return max(1, min(round(BLOCK_S * rate), MAX_SAMPLES // channels))


def check_readable(path: Path) -> None:
    """Raise SourceError if the path is not a readable file or the file is empty."""
    try:
        if path.is_dir():
            raise SourceError("bad", f"{path}: a folder, not a file; give the files in it")
        with path.open("rb") as file:
            if not file.read(1):
                raise SourceError("bad", f"{path}: empty (0 bytes)")
    except OSError as error:
        raise SourceError("bad", f"{path}: {error.strerror or error}") from error


def _cause(error: Exception) -> str:
    """Return libsndfile's message without the path, which the caller adds."""
    return str(getattr(error, "error_string", error)).rstrip(".")


def _describe_missing_data(path: Path) -> str:
    """Describe the data that is missing by the file's own header; empty if the file is complete.

    libsndfile reads a cut WAV or Ogg file as a shorter file, so this checks their headers.
    """
    with path.open("rb") as file:
        magic = file.read(12)
        if magic[:4] == b"RIFF" and magic[8:] == b"WAVE":
            size = path.stat().st_size
            while len(header := file.read(8)) == 8:
                name, length = header[:4], struct.unpack("<I", header[4:])[0]
                if name == b"data":
                    missing = file.tell() + length - size
                    known = length not in STREAMING_LENGTHS
                    return f"{missing} bytes of audio are missing" if known and missing > 0 else ""
                file.seek(length + length % 2, 1)
        if magic[:4] == b"OggS":
            file.seek(max(0, path.stat().st_size - (1 << 17)))
            tail = file.read()
            page = tail.rfind(b"OggS")
            ended = 0 <= page < len(tail) - 5 and tail[page + 5] & 0x04
            return "" if ended else "its last page is missing"
    return ""
