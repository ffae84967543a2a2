"""Read the tensors of a TensorFlow checkpoint of version 1, without TensorFlow.

Such a file is a sorted table of blocks in LevelDB's table format: keys with shared prefixes, a
checksum after each block, an index of blocks, and a footer. The values are SavedTensorSlices
messages: the empty key lists the tensors, and every other key holds a slice of one.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from train.audioset.tfrecord import masked_crc
from train.errors import TrainError

_MAGIC = 0xDB4775248B80FB57
_FOOTER, _TRAILER = 48, 5
_FLOAT = 1


class CheckpointError(TrainError):
    """The file is not a readable checkpoint; the message says what is wrong."""


def read_checkpoint(path: Path) -> dict[str, np.ndarray]:
    """Read every float32 tensor of a checkpoint, by name.

    Raises CheckpointError for a file that can't be read, is damaged, has another format or holds
    a tensor in several slices.
    """
    try:
        raw = memoryview(path.read_bytes())
    except OSError as error:
        raise CheckpointError(f"{path}: {error.strerror}") from error
    if len(raw) < _FOOTER or struct.unpack("<Q", raw[-8:])[0] != _MAGIC:
        raise CheckpointError(f"{path}: not a TensorFlow checkpoint of version 1 in one file")
    try:
        tensors = dict(_iter_tensors(raw))
    except (IndexError, ValueError, struct.error) as error:
        raise CheckpointError(f"{path}: damaged: {error}. Download it again.") from error
    if not tensors:
        raise CheckpointError(f"{path}: contains no float32 tensor")
    return tensors


def _iter_tensors(raw: memoryview) -> Iterator[tuple[str, np.ndarray]]:
    footer = raw[-_FOOTER:]
    offset = 0
    handles = []
    for _ in range(4):
        number, offset = _read_varint(footer, offset)
        handles.append(number)
    shapes: dict[str, tuple[int, ...]] = {}
    for _, handle in _iter_entries(_read_block(raw, handles[2], handles[3])):
        offset, after = _read_varint(handle, 0)
        size, _ = _read_varint(handle, after)
        for key, value in _iter_entries(_read_block(raw, offset, size)):
            message = dict(_iter_fields(value))
            if not key:
                shapes = dict(_iter_shapes(message[1]))
            elif 2 in message:
                part = dict(_iter_fields(message[2]))
                name, tensor = bytes(part[1]).decode(), dict(_iter_fields(part[3]))
                if name in shapes and 5 in tensor:
                    flat = np.frombuffer(tensor[5], np.float32)
                    if flat.size != np.prod(shapes[name], dtype=int):
                        raise ValueError(f"{name} is incomplete or split into slices")
                    yield name, flat.reshape(shapes[name])


def _iter_shapes(meta: memoryview) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yield the names and shapes of the float32 tensors."""
    for number, value in _iter_fields(meta):
        if number == 1:
            tensor = dict(_iter_fields(value))
            sizes = [
                dict(_iter_fields(dim)) for n, dim in _iter_fields(tensor.get(2, b"")) if n == 2
            ]
            if tensor.get(3) == _FLOAT:
                yield bytes(tensor[1]).decode(), tuple(int(s.get(1, 0)) for s in sizes)


def _read_block(raw: memoryview, offset: int, size: int) -> memoryview:
    block = raw[offset : offset + size + _TRAILER]
    if len(block) < size + _TRAILER:
        raise ValueError("the file ends inside a block")
    if block[size]:
        raise ValueError("its blocks are compressed, which is not supported")
    if masked_crc(bytes(block[: size + 1])) != struct.unpack("<I", block[size + 1 :])[0]:
        raise ValueError(f"wrong checksum of the block at byte {offset}")
    return block[:size]


def _iter_entries(block: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    restarts = struct.unpack("<I", block[-4:])[0]
    end, at, key = len(block) - 4 * (restarts + 1), 0, b""
    while at < end:
        shared, at = _read_varint(block, at)
        fresh, at = _read_varint(block, at)
        size, at = _read_varint(block, at)
        key = key[:shared] + bytes(block[at : at + fresh])
        yield key, block[at + fresh : at + fresh + size]
        at += fresh + size


def _iter_fields(message: memoryview | bytes) -> Iterator[tuple[int, Any]]:
    """Yield the (number, value) of a protocol buffer's fields; a value is an int or bytes."""
    view, at = memoryview(message), 0
    while at < len(view):
        tag, at = _read_varint(view, at)
        kind = tag & 7
        if kind == 0:
            value, at = _read_varint(view, at)
            yield tag >> 3, value
            continue
        if kind == 2:
            size, at = _read_varint(view, at)
        elif kind in (1, 5):
            size = 8 if kind == 1 else 4
        else:
            raise ValueError(f"unknown wire type {kind} of a field")
        yield tag >> 3, view[at : at + size]
        at += size


def _read_varint(view: memoryview, at: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        byte = view[at]
        number |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if not byte & 0x80:
            return number, at
