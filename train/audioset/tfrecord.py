"""Read TFRecord files without TensorFlow, with every checksum verified.

A record is its length (uint64), the length's checksum, the payload and the payload's checksum, all
little-endian. A checksum is a CRC-32C, rotated right by 15 bits, plus a constant (as documented by
TensorFlow).
"""

from __future__ import annotations

import struct
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import google_crc32c

from train.errors import TrainError

MAX_RECORD_BYTES = 64 << 20
"""A longer record is taken for a damaged length."""
_HEADER, _FOOTER = struct.Struct("<QI"), struct.Struct("<I")


class RecordError(TrainError):
    """A record is damaged or not readable; the message says where and why."""


@dataclass(frozen=True)
class DamagedRecord:
    """A damaged record of a shard: its index, its offset in bytes, and what is wrong."""

    shard: str
    record: int
    offset: int
    problem: str

    def __str__(self) -> str:
        return f"{self.shard}: record {self.record} at byte {self.offset}: {self.problem}"


def raise_on_damage(damage: DamagedRecord) -> None:
    """Raise RecordError for a damaged record; the default ``on_damage`` callback."""
    raise RecordError(f"{damage}. Remove the shard, or use `audioset convert --skip-damaged`.")


def masked_crc(payload: bytes) -> int:
    """Compute the format's checksum of some bytes."""
    crc = google_crc32c.value(payload)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def open_shards(source: Path) -> Iterator[tuple[str, IO[bytes]]]:
    """Yield the name and open file of every ``*.tfrecord`` in a folder or a tar archive.

    The files of a folder come in the order of their paths, those of an archive (compressed or not)
    in its order. Nothing is unpacked to disk. Raises RecordError if the source can't be read or
    has no such file.
    """
    count = 0
    try:
        if source.is_dir():
            for path in sorted(source.rglob("*.tfrecord")):
                count += 1
                with path.open("rb") as file:
                    yield str(path), file
        else:
            with tarfile.open(source, "r|*") as archive:
                for member in archive:
                    file = archive.extractfile(member) if member.isfile() else None
                    if file is not None and member.name.endswith(".tfrecord"):
                        count += 1
                        yield f"{source}/{member.name}", file
    except (OSError, tarfile.TarError, EOFError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise RecordError(
            f"{source}: {reason}. Give a folder or a tar archive of *.tfrecord files."
        ) from error
    if not count:
        raise RecordError(f"{source}: no *.tfrecord files in it")


def read_payloads(
    file: IO[bytes], shard: str, on_damage: Callable[[DamagedRecord], None] = raise_on_damage
) -> Iterator[tuple[int, int, bytes]]:
    """Yield the (index, offset in bytes, payload) of every intact record of an open file.

    ``on_damage`` is called with each damaged one. If it returns, reading continues with the next
    record; a damaged length or the end of the file inside a record ends the iteration.
    """
    offset = index = 0
    while header := file.read(_HEADER.size):
        if len(header) < _HEADER.size:
            return on_damage(DamagedRecord(shard, index, offset, "the file ends inside its length"))
        length, crc = _HEADER.unpack(header)
        if masked_crc(header[:8]) != crc or length > MAX_RECORD_BYTES:
            return on_damage(DamagedRecord(shard, index, offset, "its length is damaged"))
        body = file.read(length + _FOOTER.size)
        if len(body) < length + _FOOTER.size:
            return on_damage(
                DamagedRecord(shard, index, offset, "the file ends inside its payload")
            )
        payload = body[:length]
        if masked_crc(payload) == _FOOTER.unpack(body[length:])[0]:
            yield index, offset, payload
        else:
            on_damage(DamagedRecord(shard, index, offset, "wrong checksum"))
        offset += _HEADER.size + len(body)
        index += 1
    return None


def frame_payload(payload: bytes) -> bytes:
    """Frame a payload as a record of a TFRecord file."""
    length = struct.pack("<Q", len(payload))
    parts = (length, _FOOTER.pack(masked_crc(length)), payload, _FOOTER.pack(masked_crc(payload)))
    return b"".join(parts)
