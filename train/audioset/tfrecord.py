"""TFRecord files without TensorFlow: the payloads in them, every checksum verified.

A record is its length (uint64), the length's checksum, the payload and the payload's
checksum, all little-endian; a checksum is a CRC-32C, rotated right by 15 bits plus a constant
(the format as TensorFlow's documentation states it).
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
"""Bytes of one record; a longer one is taken for damage."""
_HEAD, _FOOT = struct.Struct("<QI"), struct.Struct("<I")


class RecordError(TrainError):
    """A damaged or foreign record; the message says where and what."""


@dataclass(frozen=True)
class DamagedRecord:
    """What is wrong in ``shard`` with its record of that index, which begins at byte ``at``."""

    shard: str
    record: int
    at: int
    what: str

    def __str__(self) -> str:
        return f"{self.shard}: record {self.record} at byte {self.at}: {self.what}"


def raise_on_damage(damage: DamagedRecord) -> None:
    """Raise RecordError: the answer to damage where none is to be borne."""
    raise RecordError(f"{damage}; leave the shard out or ask for damaged records to be skipped")


def masked_crc(payload: bytes) -> int:
    """The checksum that the format keeps of some bytes."""
    crc = google_crc32c.value(payload)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def open_shards(source: Path) -> Iterator[tuple[str, IO[bytes]]]:
    """The name and open file of every ``*.tfrecord`` under a folder, in order, or in a tar
    archive (compressed or not), in its order; one at a time, nothing is unpacked to disk.

    Raises RecordError where the source can't be read or holds none.
    """
    found = 0
    try:
        if source.is_dir():
            for path in sorted(source.rglob("*.tfrecord")):
                found += 1
                with path.open("rb") as file:
                    yield str(path), file
        else:
            with tarfile.open(source, "r|*") as archive:
                for member in archive:
                    file = archive.extractfile(member) if member.isfile() else None
                    if file is not None and member.name.endswith(".tfrecord"):
                        found += 1
                        yield f"{source}/{member.name}", file
    except (OSError, tarfile.TarError, EOFError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise RecordError(f"{source}: {why}; a folder or tar of *.tfrecord is wanted") from error
    if not found:
        raise RecordError(f"{source}: holds no *.tfrecord")


def read_payloads(
    file: IO[bytes], shard: str, on_damage: Callable[[DamagedRecord], None] = raise_on_damage
) -> Iterator[tuple[int, int, bytes]]:
    """The index, place in bytes and payload of every sound record of an open file, in order and
    one at a time.

    ``on_damage`` is told of the others, and the file is read on behind them if it returns:
    behind a damaged payload with the next record; a damaged or cut length ends the file.
    """
    at = index = 0
    while head := file.read(_HEAD.size):
        if len(head) < _HEAD.size:
            return on_damage(DamagedRecord(shard, index, at, "the file ends within its length"))
        length, crc = _HEAD.unpack(head)
        if masked_crc(head[:8]) != crc or length > MAX_RECORD_BYTES:
            return on_damage(DamagedRecord(shard, index, at, "its length is damaged"))
        body = file.read(length + _FOOT.size)
        if len(body) < length + _FOOT.size:
            return on_damage(DamagedRecord(shard, index, at, "the file ends within it"))
        payload = body[:length]
        if masked_crc(payload) == _FOOT.unpack(body[length:])[0]:
            yield index, at, payload
        else:
            on_damage(DamagedRecord(shard, index, at, "its checksum differs"))
        at += _HEAD.size + len(body)
        index += 1
    return None


def frame_payload(payload: bytes) -> bytes:
    """A payload as a record of a TFRecord file."""
    length = struct.pack("<Q", len(payload))
    parts = (length, _FOOT.pack(masked_crc(length)), payload, _FOOT.pack(masked_crc(payload)))
    return b"".join(parts)
