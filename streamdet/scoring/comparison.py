"""Where two runs over the same sounds differ: two models, two thresholds, two versions."""

from __future__ import annotations

import csv
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal


class RunError(Exception):
    """The file can't be read as events; one line that says where."""


@dataclass(frozen=True)
class RunEvent:
    """An event as a run told it, in seconds of its source."""

    source: str
    onset_s: float
    offset_s: float
    score: float
    threshold: float
    rounds: int
    model: str
    channel: str | None


@dataclass(frozen=True)
class EventPair:
    """An event of both runs, or of one alone. ``same``: both say the same of it."""

    first: RunEvent | None
    second: RunEvent | None

    @property
    def found_in(self) -> Literal["both", "first", "second"]:
        """Who heard it."""
        if self.first is not None and self.second is not None:
            return "both"
        return "first" if self.second is None else "second"

    @property
    def event(self) -> RunEvent:
        """The event, by the first run that has it."""
        told = self.first or self.second
        assert told is not None, "a pair has an event"  # noqa: S101
        return told


def read_run(path: Path) -> list[RunEvent]:
    """The events of a file that `streamdet file` or `scan` wrote as JSON lines or CSV, of its final
    words alone; raises RunError."""
    try:
        text = path.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError as error:
        raise RunError(f"{path}: {error.strerror}") from error
    lines = text.splitlines()
    try:
        if lines and not lines[0].startswith("{"):
            return [_of_row(row) for row in csv.DictReader(lines)]
        records = (json.loads(line) for line in lines if line.strip())
        return [_of_record(record) for record in records if record["phase"] == "final"]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        what = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise RunError(f"{path}: no events of streamdet's as JSON lines or CSV: {what}") from error


def pair_events(
    first: Iterable[RunEvent], second: Iterable[RunEvent], collar_s: float
) -> list[EventPair]:
    """Events that overlap, wider by the collar at both ends, are one; by source and onset. Sources
    are held together by their paths or, where no path is in both runs, by their names."""
    by_source = _by_source(list(first), list(second))
    found = []
    for source in sorted(by_source):
        ours, others = by_source[source]
        left = sorted(others, key=lambda told: told.onset_s)
        for told in sorted(ours, key=lambda told: told.onset_s):
            near = [o for o in left if _near(told, o, collar_s)]
            other = min(near, key=lambda o: abs(o.onset_s - told.onset_s), default=None)
            if other is not None:
                left.remove(other)
            found.append(EventPair(told, other))
        found += [EventPair(None, other) for other in left]
    return sorted(found, key=lambda pair: (pair.event.source, pair.event.onset_s))


def _by_source(
    first: list[RunEvent], second: list[RunEvent]
) -> dict[str, tuple[list[RunEvent], list[RunEvent]]]:
    paths = {told.source for told in first} & {told.source for told in second}
    found: dict[str, tuple[list[RunEvent], list[RunEvent]]] = defaultdict(lambda: ([], []))
    for number, run in enumerate((first, second)):
        for told in run:
            key = told.source if paths else Path(told.source).name
            found[key][number].append(told)
    return found


def _near(one: RunEvent, other: RunEvent, collar_s: float) -> bool:
    return one.onset_s <= other.offset_s + collar_s and other.onset_s <= one.offset_s + collar_s


def _of_record(record: Mapping[str, Any]) -> RunEvent:
    model = record["model"]
    named = f"{model['name']}/{model['version']}"
    return _run_event(record, named, record.get("channel"))


def _of_row(row: Mapping[str, str | None]) -> RunEvent:
    return _run_event(row, row["model"] or "", row.get("channel") or None)


def _run_event(of: Mapping[str, Any], model: str, channel: str | None) -> RunEvent:
    onset_s = float(of["onset_s"])
    return RunEvent(
        str(of["source"]), onset_s, float(of["offset_s"] or onset_s), float(of["score"]),
        float(of["threshold"]), int(of["rounds"]), model, channel,
    )  # fmt: skip
