"""Incidents: events close in time, on any source, grouped for one alert.

`add_event` and `is_over` are pure; the caller keeps the `Incident`. An incident is reported twice,
when its first event arrives and when it is over, instead of once per event and source.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

SCHEMA = "streamdet.incident/1"
MAX_EVENT_IDS = 100
"""An incident lists at most this many event ids; it counts all events."""


@dataclass(frozen=True)
class Incident:
    """``began`` and ``last`` are monotonic seconds: of the first event and of the newest update of
    any event. ``open`` holds the ids of the events that have not ended."""

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
    incident: Incident | None, record: Mapping[str, Any], at: float
) -> tuple[Incident, dict[str, Any] | None]:
    """Add an event, as `Event.record` gives it, at ``at`` monotonic seconds.

    Returns the incident with the event, and the record to send if the event opens the incident.
    """
    is_first = incident is None
    source, event, onset = record["source"], record["id"], record["phase"] == "onset"
    if incident is None:
        incident = Incident(_incident_id(event), at, at, record["time"], ())
    is_new = event not in incident.open
    ids, sources = incident.ids, incident.sources
    updated = replace(
        incident,
        last=max(incident.last, at),
        sources=sources if source in sources else (*sources, source),
        events=incident.events + is_new,
        rounds=incident.rounds + (0 if onset else record["rounds"]),
        score=max(incident.score, record["score"]),
        level_dbfs=max(incident.level_dbfs, record["level_dbfs"]),
        ids=(*ids, event) if is_new and len(ids) < MAX_EVENT_IDS else ids,
        open=incident.open | {event} if onset else incident.open - {event},
    )
    if not is_first:
        return updated, None
    return updated, replace(updated, rounds=record["rounds"]).record("onset")


def is_over(incident: Incident | None, at: float, gap_s: float) -> bool:
    """Whether all events have ended and the last update is ``gap_s`` ago."""
    return incident is not None and not incident.open and at - incident.last >= gap_s


def _incident_id(event_id: str) -> str:
    """A UUID of version 7: the time of the first event, then a hash of its id."""
    digest = hashlib.sha256(f"incident\0{event_id}".encode()).hexdigest()
    return f"{event_id[:15]}{digest[:3]}{event_id[18:20]}{digest[3:6]}-{digest[6:18]}"
