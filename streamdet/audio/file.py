"""Files through libsndfile: wav, flac, ogg, opus, mp3 and its other formats, block by block."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path

import soundfile

from streamdet.audio.source import RATE_RANGE, Block, SourceError
from streamdet.audio.wav import STREAMING_LENGTHS

BLOCK_S, MAX_SAMPLES = 2.0, 1 << 21
"""What is read at once: so long, and no more samples of all channels than that."""


class FileSource:
    """A file, or the part of it between two times, in constant memory.

    Raises SourceError where the file is missing, empty, a folder, unreadable or no audio,
    or where ``start_s`` lies behind its end; `blocks` raises it, after all samples that
    could be read, where the file ends before its own header says.
    """

    def __init__(self, path: Path, start_s: float = 0.0, end_s: float | None = None) -> None:
        self.path = path
        check_readable(path)
        try:
            # bytes: soundfile can't encode a str that is no valid UTF-8, as a name may be
            self._file = soundfile.SoundFile(os.fsencode(path))  # pyright: ignore[reportArgumentType]
        except (soundfile.LibsndfileError, OSError) as error:
            raise SourceError(
                "bad", f"{path}: not audio that libsndfile reads: {error}", foreign=True
            ) from error
        self.rate, self.channels = self._file.samplerate, self._file.channels
        self.frames = self._file.frames
        if not RATE_RANGE[0] <= self.rate <= RATE_RANGE[1]:
            self.close()
            raise SourceError("bad", f"{path}: {self.rate} Hz is no audio")
        self._first = round(start_s * self.rate)
        self._last = self.frames if end_s is None else min(self.frames, round(end_s * self.rate))
        if self.frames == 0:
            self.close()
            raise SourceError("bad", f"{path}: no audio in it (0 samples)")
        if self._first >= self._last:
            self.close()
            raise SourceError(
                "bad",
                f"{path}: nothing to hear: --start lies behind its {self.seconds:.3f} s"
                " or behind --end",
            )

    @property
    def seconds(self) -> float:
        """The file's length by its header."""
        return self.frames / self.rate

    @property
    def samples_to_read(self) -> int:
        """How many samples a channel `blocks` will give."""
        return self._last - self._first

    def blocks(self) -> Iterator[Block]:
        """Blocks of 2 s, the last one shorter: so much is lost where a file is damaged."""
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
            where = at / self.rate
            raise SourceError("truncated", f"{self.path}: damaged at {where:.3f} s: {error}") from (
                error
            )
        if at < self._last:
            where, whole = at / self.rate, self._last / self.rate
            raise SourceError(
                "truncated", f"{self.path}: truncated: ends at {where:.3f} s of {whole:.3f} s"
            )
        if self._last == self.frames and (missing := _describe_missing_data(self.path)):
            raise SourceError(
                "truncated", f"{self.path}: truncated: {missing}; heard {self.seconds:.3f} s of it"
            )

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def samples_per_block(rate: int, channels: int) -> int:
    """Samples a channel that are read at once."""
    return max(1, min(round(BLOCK_S * rate), MAX_SAMPLES // channels))


def check_readable(path: Path) -> None:
    """Raise SourceError for a path that is no file with something in it."""
    try:
        if path.is_dir():
            raise SourceError("bad", f"{path}: a folder, not a file; name the files in it")
        with path.open("rb") as file:
            if not file.read(1):
                raise SourceError("bad", f"{path}: empty (0 bytes)")
    except OSError as error:
        raise SourceError("bad", f"{path}: {error.strerror or error}") from error


def _describe_missing_data(path: Path) -> str:
    """What a container's own lengths say is not there, in words; empty if nothing is.

    libsndfile takes a cut WAV or Ogg file for a short one, so their headers are read here.
    """
    with path.open("rb") as file:
        magic = file.read(12)
        if magic[:4] == b"RIFF" and magic[8:] == b"WAVE":
            size = path.stat().st_size
            while len(head := file.read(8)) == 8:
                name, length = head[:4], struct.unpack("<I", head[4:])[0]
                if name == b"data":
                    missing = file.tell() + length - size
                    known = length not in STREAMING_LENGTHS
                    return f"its header promises {missing} bytes more" * (known and missing > 0)
                file.seek(length + length % 2, 1)
        if magic[:4] == b"OggS":
            file.seek(max(0, path.stat().st_size - (1 << 17)))
            tail = file.read()
            page = tail.rfind(b"OggS")
            ended = 0 <= page < len(tail) - 5 and tail[page + 5] & 0x04
            return "" if ended else "its last page is missing"
    return ""
