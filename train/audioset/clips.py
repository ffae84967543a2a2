"""AudioSet clips as embeddings: read from TFRecords, packed into compact records, dequantised.

A clip has a VGGish embedding of 128 bytes for each of up to ten seconds: values of [-2, 2] after
PCA and whitening, quantised to 8 bits (Hershey et al., *CNN Architectures for Large-Scale Audio
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
_HEADER = struct.Struct("<ffBHH")


class AudioSetClipError(ValueError):
    """A payload is not a clip; the message says what is missing or wrong."""


@dataclass(frozen=True)
class AudioSetClip:
    """A clip; ``labels`` are class indices, ``frames`` is (n, 128) uint8 with n at most 10."""

    video_id: str
    start_s: float
    end_s: float
    labels: tuple[int, ...]
    frames: np.ndarray


def parse_clip(payload: bytes) -> AudioSetClip:
    """Parse a serialised SequenceExample; raises AudioSetClipError if it is not a clip."""
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
        raise AudioSetClipError(f"its embeddings do not have {WIDTH} bytes per second")
    try:
        return AudioSetClip(
            context["video_id"].bytes_list.value[0].decode(),
            context["start_time_seconds"].float_list.value[0],
            context["end_time_seconds"].float_list.value[0],
            tuple(context["labels"].int64_list.value),
            np.frombuffer(b"".join(frames), np.uint8).reshape(len(frames), WIDTH),
        )
    except (IndexError, UnicodeDecodeError) as error:
        raise AudioSetClipError(f"a value of its context has the wrong type: {error}") from error


def read_clips(
    source: Path, on_damage: Callable[[DamagedRecord], None] = raise_on_damage
) -> Iterator[AudioSetClip]:
    """Yield every clip of the TFRecords in a folder or a tar archive.

    ``on_damage`` is called with each record that is damaged or not a clip. If it returns, reading
    continues with the next record. Raises RecordError as `tfrecord.open_shards` does.
    """
    for shard, file in open_shards(source):
        for index, offset, payload in read_payloads(file, shard, on_damage):
            try:
                clip = parse_clip(payload)
            except AudioSetClipError as error:
                on_damage(DamagedRecord(shard, index, offset, str(error)))
            else:
                yield clip


def pack_clip(clip: AudioSetClip) -> bytes:
    """Serialise a clip compactly: header, id, labels and frames."""
    name = clip.video_id.encode()
    head = _HEADER.pack(clip.start_s, clip.end_s, len(clip.frames), len(clip.labels), len(name))
    return head + name + np.asarray(clip.labels, "<u2").tobytes() + clip.frames.tobytes()


def unpack_clip(record: bytes) -> AudioSetClip:
    """Deserialise a clip that `pack_clip` serialised."""
    start_s, end_s, count, labels, name = _HEADER.unpack_from(record)
    at = _HEADER.size + name
    frames = np.frombuffer(record, np.uint8, count * WIDTH, at + 2 * labels)
    return AudioSetClip(
        record[_HEADER.size : at].decode(),
        start_s,
        end_s,
        tuple(np.frombuffer(record, "<u2", labels, at).tolist()),
        frames.reshape(count, WIDTH),
    )


def dequantise(frames: np.ndarray) -> np.ndarray:
    """Convert ``(..., 128) uint8`` embeddings to float32 in about [-2, 2].

    Each value becomes the middle of its quantisation step, as in the YouTube-8M tools.
    """
    span = _HIGHEST - _LOWEST
    return frames.astype(np.float32) * np.float32(span / 255.0) + np.float32(span / 512.0 + _LOWEST)
