"""A clip of AudioSet as its embeddings: out of a record, into a compact one, and as features.

The embeddings are VGGish's, one for each of up to ten seconds, 128 bytes each: 8-bit values of
[-2, 2] after PCA and whitening (Hershey et al., *CNN Architectures for Large-Scale Audio
Classification*, ICASSP 2017; the AudioSet release notes).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from google.protobuf.message import DecodeError

from train.audioset.example import make_sequence_example_class
from train.audioset.tfrecord import DamagedRecord, open_shards, raise_on_damage, read_payloads

WIDTH, MAX_SECONDS = 128, 10
_LOWEST, _HIGHEST = -2.0, 2.0
_HEAD = struct.Struct("<ffBHH")


class AudioSetClipError(ValueError):
    """A payload is no clip; the message says what it lacks."""


@dataclass(frozen=True)
class AudioSetClip:
    """``labels`` are indices of the class list; ``frames`` (n, 128) uint8, n at most 10."""

    video_id: str
    start_s: float
    end_s: float
    labels: tuple[int, ...]
    frames: np.ndarray


def parse_clip(payload: bytes) -> AudioSetClip:
    """The clip of a SequenceExample; raises ClipError for what is none."""
    try:
        example = make_sequence_example_class().FromString(payload)
    except DecodeError as error:
        raise AudioSetClipError(f"not a SequenceExample: {error}") from error
    context, lists = example.context.feature, example.feature_lists.feature_list
    for name in ("video_id", "start_time_seconds", "end_time_seconds", "labels"):
        if name not in context:
            raise AudioSetClipError(f"no {name}")
    if "audio_embedding" not in lists:
        raise AudioSetClipError("no audio_embedding")
    frames = [f.bytes_list.value[0] for f in lists["audio_embedding"].feature[:MAX_SECONDS]]
    if not frames or any(len(f) != WIDTH for f in frames):
        raise AudioSetClipError(f"its embeddings are not {WIDTH} bytes a second")
    try:
        return AudioSetClip(
            context["video_id"].bytes_list.value[0].decode(),
            context["start_time_seconds"].float_list.value[0],
            context["end_time_seconds"].float_list.value[0],
            tuple(context["labels"].int64_list.value),
            np.frombuffer(b"".join(frames), np.uint8).reshape(len(frames), WIDTH),
        )
    except (IndexError, UnicodeDecodeError) as error:
        raise AudioSetClipError(f"its context is of another kind: {error}") from error


def read_clips(
    source: Path, on_damage: Callable[[DamagedRecord], None] = raise_on_damage
) -> Iterator[AudioSetClip]:
    """Every clip of the TFRecords in a folder or a tar archive; ``on_damage`` is told of each
    damaged record and of each that is no clip, and the next one follows if it returns.

    Raises RecordError as `tfrecord.shards` does.
    """
    for shard, file in open_shards(source):
        for index, at, payload in read_payloads(file, shard, on_damage):
            try:
                clip = parse_clip(payload)
            except AudioSetClipError as error:
                on_damage(DamagedRecord(shard, index, at, str(error)))
            else:
                yield clip


def pack_clip(clip: AudioSetClip) -> bytes:
    """A clip in a few bytes more than its embeddings: head, id, labels, frames."""
    name = clip.video_id.encode()
    head = _HEAD.pack(clip.start_s, clip.end_s, len(clip.frames), len(clip.labels), len(name))
    return head + name + np.asarray(clip.labels, "<u2").tobytes() + clip.frames.tobytes()


def unpack_clip(record: bytes) -> AudioSetClip:
    """The clip that `packed` made of one."""
    start_s, end_s, count, labels, name = _HEAD.unpack_from(record)
    at = _HEAD.size + name
    frames = np.frombuffer(record, np.uint8, count * WIDTH, at + 2 * labels)
    return AudioSetClip(
        record[_HEAD.size : at].decode(),
        start_s,
        end_s,
        tuple(np.frombuffer(record, "<u2", labels, at).tolist()),
        frames.reshape(count, WIDTH),
    )


def dequantise(frames: np.ndarray) -> np.ndarray:
    """``(..., 128) uint8`` to float32 in about [-2, 2]: each value the middle of its step, as
    the YouTube-8M and AudioSet tools take them."""
    span = _HIGHEST - _LOWEST
    return frames.astype(np.float32) * np.float32(span / 255.0) + np.float32(span / 512.0 + _LOWEST)
