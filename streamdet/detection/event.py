"""What the detector says: a detection in samples, and an event as it is printed.

`Detection` is the decision's own word and knows no clock; `Event` adds where and when, and
`Event.record` is the JSON object of docs/events.md.
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
    """One gunfire event in a stream, in samples of the model's rate since its start.

    ``phase`` is "onset" when it has just been heard (``offset`` is None then, rounds and
    labels are those so far) and "final" once it is over. ``detected`` is the last sample
    the decision had heard when it spoke. ``channel``: which of several spoke, a number from 1, or
    "mix" for their mean; None where there is one alone.
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

    def shifted(self, samples: int) -> Detection:
        """The same detection that many samples later."""
        offset = None if self.offset is None else self.offset + samples
        onset, detected = self.onset + samples, self.detected + samples
        return replace(self, onset=onset, offset=offset, detected=detected)


@dataclass(frozen=True)
class ModelId:
    """Which bundle spoke."""

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
    def onset_s(self) -> float:
        """Seconds of the source."""
        return self.detection.onset / self.sample_rate

    @property
    def offset_s(self) -> float | None:
        """Seconds of the source; None while it is not over."""
        offset = self.detection.offset
        return None if offset is None else offset / self.sample_rate

    @property
    def span_s(self) -> tuple[float, float]:
        """Onset and end in seconds of the source. The end of an open event is its onset."""
        return self.onset_s, self.onset_s if self.offset_s is None else self.offset_s

    def record(self) -> dict[str, Any]:
        """The JSON object of one line, its keys in the documented order."""
        d, rate = self.detection, self.sample_rate
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
        """The event that `record` gave, as far as it tells; raises KeyError, ValueError."""
        rate, onset, end = (
            int(record["sample_rate"]),
            int(record["onset_sample"]),
            record["offset_s"],
        )
        offset = None if end is None else round(float(end) * rate)
        detection = Detection(
            record["phase"], onset, offset, onset if offset is None else offset,
            int(record["rounds"]), float(record["score"]), float(record["threshold"]),
            float(record["level_dbfs"]), record["labels"], record.get("channel"),
        )  # fmt: skip
        time, model = record["time"], record["model"]
        unix_s = None if time is None else parse_utc(time)
        named = ModelId(model["name"], model["version"], model["sha256"])
        return cls(detection, record["id"], record["source"], rate, unix_s, named)


def format_utc(unix_s: float) -> str:
    """Seconds since 1970 as ``2026-11-22T19:54:03.120Z``."""
    text = datetime.fromtimestamp(unix_s, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


def parse_utc(text: str) -> float:
    """Seconds since 1970 of an ISO 8601 time, UTC where it names no zone; raises ValueError."""
    try:
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except OverflowError as error:
        raise ValueError(f"{text}: no time") from error


def event_id(source: str, model: ModelId, onset: int, unix_s: float | None, rate: int) -> str:
    """A UUID of version 7 (RFC 9562) that the same event of the same source always gets.

    Its 48 bits of time are the onset's: UTC milliseconds, or, where there is no clock,
    milliseconds since the stream began. The other bits are a hash of what it names.
    """
    at = onset / rate if unix_s is None else unix_s
    named = f"{source}\0{model.sha256}\0{onset}\0{at:.3f}".encode(errors="surrogateescape")
    bits = int.from_bytes(hashlib.sha256(named).digest()[:10], "big")
    rand_a, rand_b = bits >> 68, bits & ((1 << 62) - 1)
    milliseconds = max(0, round(at * 1000)) & ((1 << 48) - 1)
    number = milliseconds << 80 | 0x7 << 76 | rand_a << 64 | 0b10 << 62 | rand_b
    text = f"{number:032x}"
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))
