"""Compares the events of two runs over the same files: two models, thresholds or versions."""

from __future__ import annotations

import csv
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from streamdet.scoring.matching import overlaps


class RunError(Exception):
    """The file can't be read as events; the message is one line."""


@dataclass(frozen=True)
class RunEvent:
    """An event of a run, in seconds of its source."""

    source: str
    onset_s: float
    offset_s: float
    score: float
    threshold: float
    rounds: int
    model: str
    channel: str | None

    @property
    def span(self) -> tuple[float, float]:
        """(onset_s, offset_s)."""
        return self.onset_s, self.offset_s


@dataclass(frozen=True)
class EventPair:
    """An event that both runs found, or one that only one of them found."""

    first: RunEvent | None
    second: RunEvent | None

    @property
    def found_in(self) -> Literal["both", "first", "second"]:
        """Which runs found the event."""
        if self.first is not None and self.second is not None:
            return "both"
        return "first" if self.second is None else "second"

    @property
    def event(self) -> RunEvent:
        """The event as the first run has it, or the second if the first has not."""
        event = self.first or self.second
        assert event is not None, "a pair has an event"  # noqa: S101
        return event


def read_run(path: Path) -> list[RunEvent]:
    """Read the final events of a file that `streamdet file` or `streamdet scan` wrote, as JSON
    lines or CSV. Raises RunError."""
    try:
        text = path.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError as error:
        raise RunError(f"{path}: {error.strerror}") from error
    lines = text.splitlines()
    try:
        if lines and not lines[0].startswith("{"):
            return [_from_row(row) for row in csv.DictReader(lines)]
        records = (json.loads(line) for line in lines if line.strip())
        return [_from_record(record) for record in records if record["phase"] == "final"]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        problem = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise RunError(
            f"{path}: not events of streamdet as JSON lines or CSV: {problem}"
        ) from error


def pair_events(
    first: Iterable[RunEvent], second: Iterable[RunEvent], collar_s: float
) -> list[EventPair]:
    """Pair the events of two runs, sorted by source and onset.

    Each event of the first run is paired with the event of the second that has the nearest onset,
    among those that overlap it within the collar. Sources are matched by path, or by file name if
    the runs have no path in common.
    """
    pairs = []
    for _, (firsts, seconds) in sorted(_by_source(list(first), list(second)).items()):
        unpaired = sorted(seconds, key=lambda e: e.onset_s)
        for event in sorted(firsts, key=lambda e: e.onset_s):
            near = [other for other in unpaired if overlaps(event.span, other.span, collar_s)]
            nearest = min(near, key=lambda other: abs(other.onset_s - event.onset_s), default=None)
            if nearest is not None:
                unpaired.remove(nearest)
            pairs.append(EventPair(event, nearest))
        pairs += [EventPair(None, event) for event in unpaired]
    return sorted(pairs, key=lambda pair: (pair.event.source, pair.event.onset_s))


def _by_source(
    first: list[RunEvent], second: list[RunEvent]
) -> dict[str, tuple[list[RunEvent], list[RunEvent]]]:
    common_paths = {e.source for e in first} & {e.source for e in second}
    events: dict[str, tuple[list[RunEvent], list[RunEvent]]] = defaultdict(lambda: ([], []))
    for number, run in enumerate((first, second)):
        for event in run:
            key = event.source if common_paths else Path(event.source).name
            events[key][number].append(event)
    return events


def _from_record(record: Mapping[str, Any]) -> RunEvent:
    model = record["model"]
    return _run_event(record, f"{model['name']}/{model['version']}", record.get("channel"))


def _from_row(row: Mapping[str, str | None]) -> RunEvent:
    return _run_event(row, row["model"] or "", row.get("channel") or None)


def _run_event(fields: Mapping[str, Any], model: str, channel: str | None) -> RunEvent:
    onset_s = float(fields["onset_s"])
    return RunEvent(
        str(fields["source"]), onset_s, float(fields["offset_s"] or onset_s),
        float(fields["score"]), float(fields["threshold"]), int(fields["rounds"]), model, channel,
    )  # fmt: skip
