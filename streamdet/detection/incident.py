"""Shots close in time, on whatever source, as one incident; a pure step that carries its state.

Whoever is to be woken wants one word at the first shot and one when it is over, with how many
there were and where: not one for every shot and microphone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

SCHEMA = "streamdet.incident/1"
MAX_EVENT_IDS = 100
"""So many of its events are named; all are counted."""


@dataclass(frozen=True)
class Incident:
    """``began`` and ``last`` are monotonic seconds of the first onset and of the newest word of
    any event in it; ``open`` names those that are not over."""

    id: str
    began: float
    last: float
    time: str | None
    sources: tuple[str, ...]
    events: int = 0
    rounds: int = 0
    score: float = 0.0
    level_dbfs: float = -200.0
    ids: tuple[str, ...] = ()
    open: frozenset[str] = frozenset()

    def record(self, phase: Literal["onset", "final"]) -> dict[str, Any]:
        """The JSON object of docs/events.md."""
        return {
            "schema": SCHEMA,
            "id": self.id,
            "type": "incident",
            "phase": phase,
            "source": ", ".join(self.sources),
            "sources": list(self.sources),
            "time": self.time,
            "duration_s": round(self.last - self.began, 3),
            "events": self.events,
            "rounds": self.rounds,
            "score": round(self.score, 4),
            "level_dbfs": round(self.level_dbfs, 1),
            "event_ids": list(self.ids),
        }


def add_event(
    now: Incident | None, record: Mapping[str, Any], at: float
) -> tuple[Incident, dict[str, Any] | None]:
    """An event's line, as `Event.record` gives it, at a monotonic second: the incident that it is
    a part of, and the record to tell if it begins one."""
    first = now is None
    source, event, onset = record["source"], record["id"], record["phase"] == "onset"
    if now is None:
        now = Incident(_identity(event), at, at, record["time"], ())
    is_new = event not in now.open
    after = replace(
        now,
        last=max(now.last, at),
        sources=now.sources if source in now.sources else (*now.sources, source),
        events=now.events + is_new,
        rounds=now.rounds + (0 if onset else record["rounds"]),
        score=max(now.score, record["score"]),
        level_dbfs=max(now.level_dbfs, record["level_dbfs"]),
        ids=(*now.ids, event) if is_new and len(now.ids) < MAX_EVENT_IDS else now.ids,
        open=now.open | {event} if onset else now.open - {event},
    )
    told = replace(after, rounds=record["rounds"]) if first else after
    return after, told.record("onset") if first else None


def is_over(now: Incident | None, at: float, gap_s: float) -> bool:
    """Whether nothing more belongs to it: all its events have ended, ``gap_s`` ago."""
    return now is not None and not now.open and at - now.last >= gap_s


def _identity(event: str) -> str:
    """A UUID of version 7 with the time of the first event, and a hash of its id."""
    named = hashlib.sha256(f"incident\0{event}".encode()).hexdigest()
    return f"{event[:15]}{named[:3]}{event[18:20]}{named[3:6]}-{named[6:18]}"
