"""Detections and events.

A `Detection` is the decision's output, in samples of a stream. An `Event` adds the source, the
clock time and the model; `Event.record` is the JSON object of docs/events.md.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Literal

SCHEMA = "streamdet.event/1"

Phase = Literal["onset", "final"]


@dataclass(frozen=True)
class Detection:
    """One gunfire event in a stream, in samples of the model's rate since the stream's start.

    ``phase`` is "onset" when the event opens (``offset`` is then None, ``rounds`` and ``labels``
    are those so far) and "final" when it has closed. ``detected`` is the last sample that the
    decision had when it reported. ``channel`` is a channel number from 1, "mix" for the mean of
    several channels, or None for a source with one channel.

    With a second stage, ``stage_score`` is the score of the first stage. ``verified`` is None at
    the first onset, True at a second onset that the verifier reports, and True or False at the
    end; ``score`` and ``onset`` are then the verifier's, and ``reported`` is the onset that was
    reported first, where it is another one. Without a second stage all three are None.
    """

    phase: Phase
    onset: int
    offset: int | None
    detected: int
    rounds: int
    score: float
    threshold: float
    level_dbfs: float
    labels: Mapping[str, float]
    channel: str | None = None
    verified: bool | None = None
    stage_score: float | None = None
    reported: int | None = None

    @property
    def first_onset(self) -> int:
        """The onset that the event was reported with first; its id depends on it."""
        return self.onset if self.reported is None else self.reported

    def shifted(self, samples: int) -> Detection:
        """The same detection, ``samples`` later."""
        offset = None if self.offset is None else self.offset + samples
        reported = None if self.reported is None else self.reported + samples
        onset, detected = self.onset + samples, self.detected + samples
        return replace(self, onset=onset, offset=offset, detected=detected, reported=reported)


@dataclass(frozen=True)
class ModelId:
    """Identifies the bundle that produced an event."""

    name: str
    version: str
    sha256: str


@dataclass(frozen=True)
class Event:
    """A detection of a source. ``unix_s`` is the UTC time of the onset, None if unknown."""

    detection: Detection
    id: str
    source: str
    sample_rate: int
    unix_s: float | None
    model: ModelId

    @property
    def confirmed(self) -> bool:
        """Whether no second stage has to confirm the event, or it has."""
        return self.detection.stage_score is None or self.detection.verified is True

    @property
    def onset_s(self) -> float:
        """Onset in seconds of the source."""
        return self.detection.onset / self.sample_rate

    @property
    def offset_s(self) -> float | None:
        """End in seconds of the source; None while the event is open."""
        offset = self.detection.offset
        return None if offset is None else offset / self.sample_rate

    @property
    def span_s(self) -> tuple[float, float]:
        """Onset and end in seconds of the source. The end of an open event is its onset."""
        return self.onset_s, self.onset_s if self.offset_s is None else self.offset_s

    def record(self) -> dict[str, Any]:
        """The JSON object of one line, its keys in the documented order."""
        d, rate, verification = self.detection, self.sample_rate, {}
        if d.stage_score is not None:
            verification = {"verified": d.verified, "stage_score": round(d.stage_score, 4)}
        return {
            "schema": SCHEMA,
            "id": self.id,
            "type": "gunshot",
            "phase": d.phase,
            "source": self.source,
            "channel": d.channel,
            "onset_s": round(d.onset / rate, 3),
            "offset_s": None if d.offset is None else round(d.offset / rate, 3),
            "onset_sample": d.onset,
            "sample_rate": rate,
            "rounds": d.rounds,
            "score": round(d.score, 4),
            "threshold": round(d.threshold, 4),
            **verification,
            "time": None if self.unix_s is None else format_utc(self.unix_s),
            "level_dbfs": round(d.level_dbfs, 1),
            "labels": {k: round(v, 4) for k, v in d.labels.items()},
            "model": {
                "name": self.model.name,
                "version": self.model.version,
                "sha256": self.model.sha256,
            },
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Event:
        """The event of a `record`, to the record's precision. Raises KeyError or ValueError."""
        rate, onset = int(record["sample_rate"]), int(record["onset_sample"])
        offset_s = record["offset_s"]
        offset = None if offset_s is None else round(float(offset_s) * rate)
        detection = Detection(
            record["phase"], onset, offset, onset if offset is None else offset,
            int(record["rounds"]), float(record["score"]), float(record["threshold"]),
            float(record["level_dbfs"]), record["labels"], record.get("channel"),
            record.get("verified"), record.get("stage_score"),
        )  # fmt: skip
        time, model = record["time"], record["model"]
        unix_s = None if time is None else parse_utc(time)
        model_id = ModelId(model["name"], model["version"], model["sha256"])
        return cls(detection, record["id"], record["source"], rate, unix_s, model_id)


def event_from_detection(
    detection: Detection,
    *,
    source: str,
    model: ModelId,
    rate: int,
    unix_s: float | None = None,
    separate_channels: bool = False,
) -> Event:
    """Make an event with its id. ``rate`` is the model's sample rate in Hz.

    ``separate_channels``: each channel of the source has events of its own, so the channel is part
    of the event's identity.
    """
    stream = channel_key(source, detection.channel) if separate_channels else source
    identity = event_id(stream, model, detection.first_onset, unix_s, rate)
    return Event(detection, identity, source, rate, unix_s, model)


def channel_key(source: str, channel: str | None) -> str:
    """The name that identifies one channel of a source in event ids."""
    return f"{source}\0{channel}"


def format_utc(unix_s: float) -> str:
    """Seconds since 1970 as ``2026-11-22T19:54:03.120Z``."""
    text = datetime.fromtimestamp(unix_s, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


def parse_utc(text: str) -> float:
    """Seconds since 1970 of an ISO 8601 time, UTC if it names no zone. Raises ValueError."""
    try:
        time = datetime.fromisoformat(text)
        return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()
    except OverflowError as error:
        raise ValueError(f"{text}: out of range") from error


def event_id(source: str, model: ModelId, onset: int, unix_s: float | None, rate: int) -> str:
    """A UUID of version 7 (RFC 9562), always the same for the same event of the same source.

    Its 48 bits of time are those of the onset: UTC milliseconds, or milliseconds since the start
    of the stream if there is no clock time. The other bits are a hash of the arguments.
    """
    at = onset / rate if unix_s is None else unix_s
    named = f"{source}\0{model.sha256}\0{onset}\0{at:.3f}".encode(errors="surrogateescape")
    bits = int.from_bytes(hashlib.sha256(named).digest()[:10], "big")
    rand_a, rand_b = bits >> 68, bits & ((1 << 62) - 1)
    milliseconds = max(0, round(at * 1000)) & ((1 << 48) - 1)
    number = milliseconds << 80 | 0x7 << 76 | rand_a << 64 | 0b10 << 62 | rand_b
    text = f"{number:032x}"
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))
