"""The HTML pages: each view reads the store and renders a template."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlencode

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.templating import Jinja2Templates

from streamdet.daemon.supervision import SourceState
from streamdet.detection.event import format_utc, parse_utc
from streamdet.formats.table import format_clock
from streamdet.pipeline.budget_threshold import BudgetThreshold
from streamdet.store.clips import ClipFolder
from streamdet.store.reader import EventFilter, StoredEvent, StoreReader
from streamdet.store.store import EventStore
from streamdet.store.verdict import CAUSES, VERDICTS
from streamdet.web import charts, rate_chart, thresholds
from streamdet.web.live import MAX_LIVE_SOURCES, LiveHub

PAGE_SIZE = 25
_LIVE_PAGE_EVENTS = 5
_CLIP_WAIT_S = 30.0
_VERDICT_FILTERS = (*VERDICTS, "none", "any")
_CURSOR = re.compile(r"(\d{1,12}(?:\.\d{1,9})?)_(\d{1,15})")

_T = TypeVar("_T")

STATE_WORDS = {str(state): state.label for state in SourceState}
"""What the page shows for each value of `SourceState`."""


@dataclass(frozen=True)
class SourceStatus:
    """A source of the daemon: its name, the value of its `SourceState`, and its threshold."""

    name: str
    state: str
    budget: BudgetThreshold


@dataclass(frozen=True)
class PageContext:
    """What the pages read from.

    ``sources`` lists the daemon's sources, and ``model`` returns NAME/VERSION. Without a daemon
    they return an empty list and an empty text.
    """

    store: EventStore
    reader: StoreReader
    clips: ClipFolder | None
    hub: LiveHub
    sources: Callable[[], list[SourceStatus]]
    model: Callable[[], str]


def create_templates() -> Jinja2Templates:
    """Create the template environment, with the globals and filters that the templates use."""
    templates = Jinja2Templates(directory=Path(__file__).parent / "templates")
    templates.env.globals |= {
        "causes": CAUSES,
        "plot_curve": charts.plot_curve,
        "clock": format_clock,
        "score_ticks": rate_chart.score_ticks(),
        "rate_ticks": rate_chart.rate_ticks(),
        "state_words": STATE_WORDS,
    }
    templates.env.filters |= {
        "utc": format_utc, "score": charts.format_score, "rate": charts.format_rate,
    }  # fmt: skip
    templates.env.trim_blocks = templates.env.lstrip_blocks = True
    return templates


class Views:
    """The pages, one method each. They run in worker threads."""

    def __init__(self, context: PageContext) -> None:
        self.context, self._templates = context, create_templates()

    def live(self, request: Request) -> Response:
        """The daemon's sources and the newest events."""
        shown, pager = _page_of(request, self.context.sources())
        events = self.context.reader.page(EventFilter(), _LIVE_PAGE_EVENTS).events
        return self._render(
            request, "live.html", current="live", sources=shown, events=events, **pager
        )

    def events(self, request: Request) -> Response:
        """The list of events, filtered and in pages."""
        event_filter, query = parse_filter(request)
        before, after = _parse_cursor(request, "before"), _parse_cursor(request, "after")
        page = self.context.reader.page(event_filter, PAGE_SIZE, before, after)

        def page_query(stored: StoredEvent, direction: str) -> str:
            return urlencode({**query, direction: f"{stored.time_s!r}_{stored.seq}"})

        events = page.events
        return self._render(
            request, "events.html", current="events", events=events, query=query,
            source_names=self.context.reader.sources(),
            total=self.context.reader.count(event_filter),
            newer=page_query(events[0], "after") if events and page.newer else None,
            older=page_query(events[-1], "before") if events and page.older else None,
        )  # fmt: skip

    def event(self, request: Request) -> Response:
        """One event with the history of its verdicts."""
        stored = self._requested_event(request)
        position = (stored.time_s, stored.seq)
        older = self.context.reader.page(EventFilter(), 1, before=position).events
        newer = self.context.reader.page(EventFilter(), 1, after=position).events
        same_incident = EventFilter(incident=stored.incident or "none")
        return self._render(
            request, "event.html", current="events", stored=stored,
            incident_events=self.context.reader.count(same_incident),
            history=self.context.reader.history(stored.event.id),
            older=older[0].event.id if older else None,
            newer=newer[0].event.id if newer else None,
        )  # fmt: skip

    def card(self, request: Request) -> Response:
        """One event as an element of a list, for a page that is already open."""
        return self._render(request, "card.html", stored=self._requested_event(request))

    def day(self, request: Request) -> Response:
        """The timelines of a day in UTC, by default today."""
        text = request.path_params.get("day") or datetime.now(UTC).date().isoformat()
        try:
            day = date.fromisoformat(text)
            start_s = datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()
            previous, following = day - timedelta(days=1), day + timedelta(days=1)
        except (ValueError, OverflowError) as error:
            raise HTTPException(
                404, "There is no such day. Write it as YYYY-MM-DD, for example /day/2026-11-22."
            ) from error
        event_filter = EventFilter(start_s, start_s + 86_400)
        rows = self.context.reader.counts_by_slot(event_filter, start_s, charts.SLOT_S)
        return self._render(
            request, "day.html", current="day", day=day, previous=previous, following=following,
            timelines=charts.day_timelines(rows, day), slots=charts.SLOTS, slot_s=charts.SLOT_S,
            total=sum(row[2] for row in rows),
        )  # fmt: skip

    def precision(self, request: Request) -> Response:
        """The precision by day."""
        source = request.query_params.get("source") or None
        days = parse_int(request, "days", 30, 7, 365)
        now = datetime.now(UTC)
        event_filter = EventFilter(now.timestamp() - days * 86_400, source=source)
        counts = self.context.reader.counts_by_day(event_filter)
        chart = charts.precision_by_day(counts, now.date(), days)
        return self._render(
            request, "precision.html", current="precision", source=source, days=days, chart=chart,
            source_names=self.context.reader.sources(),
            reviewed=sum(day.reviewed for day in chart),
            reviewed_true=sum(day.true for day in chart),
            most_events=max((day.events for day in chart), default=0),
        )  # fmt: skip

    def thresholds(self, request: Request) -> Response:
        """The threshold of each source, its background, and the effect of another threshold."""
        source = request.query_params.get("source") or None
        days = parse_int(request, "days", 30, 7, 365)
        running = {status.name: status for status in self.context.sources()}
        stored = self.context.reader.sources()
        names = [source] if source else list(running) or stored
        shown, pager = _page_of(request, names)
        since_s = time.time() - days * 86_400
        described = [self._describe_threshold(name, running.get(name), since_s) for name in shown]
        return self._render(
            request, "thresholds.html", current="thresholds", source=source, days=days,
            source_names=sorted({*running, *stored}), running=bool(running),
            described=[one for one in described if one is not None], **pager,
        )  # fmt: skip

    def _describe_threshold(
        self, name: str, status: SourceStatus | None, since_s: float
    ) -> thresholds.SourceThreshold | None:
        """The threshold of a source; None if there is neither a daemon nor an event of it."""
        reader, event_filter = self.context.reader, EventFilter(since_s, source=name)
        known = None
        if status is not None:
            known = rate_chart.Background.of(status.budget)
            threshold = known.state.threshold
        else:
            newest = reader.page(EventFilter(source=name), 1).events
            if not newest:
                return None
            threshold = newest[0].event.detection.threshold
        highest = reader.highest_threshold(event_filter) or 0.0
        counts = reader.score_counts(event_filter)
        return thresholds.describe_threshold(name, threshold, known, counts, highest)

    def login(self, request: Request, *, error: str = "", status: int = 200) -> Response:
        """The form that asks for the token."""
        return self._render(request, "login.html", status=status, error=error)

    def error(self, request: Request, status: int, message: str) -> Response:
        """The page for an error."""
        return self._render(request, "error.html", status=status, code=status, message=message)

    def _clip_expected(self, stored: StoredEvent) -> bool:
        """Whether the event is so recent that its clip is still being recorded."""
        recent = time.time() - stored.time_s < _CLIP_WAIT_S
        return self.context.clips is not None and stored.event.unix_s is not None and recent

    def _requested_event(self, request: Request) -> StoredEvent:
        return self.context.reader.event(request.path_params["event_id"])

    def _render(
        self, request: Request, template: str, *, status: int = 200, **values: Any
    ) -> Response:
        values |= {"model": self.context.model(), "clip_expected": self._clip_expected}
        return self._templates.TemplateResponse(request, template, values, status_code=status)


def _page_of(request: Request, items: list[_T]) -> tuple[list[_T], dict[str, int]]:
    """Return those of the items that the query's page shows, and the numbers for its pager."""
    page = parse_int(request, "page", 0, 0, 1_000)
    shown = items[page * MAX_LIVE_SOURCES : (page + 1) * MAX_LIVE_SOURCES]
    return shown, {"page": page, "pages": -(-len(items) // MAX_LIVE_SOURCES)}


def parse_filter(request: Request) -> tuple[EventFilter, dict[str, str]]:
    """Return the filter that a query asks for, and the query without empty values.

    Raises HTTPException if a value is not valid.
    """
    given = {k: v.strip() for k, v in request.query_params.items() if v.strip()}
    names = ("since", "until", "source", "min_score", "max_score", "verdict", "incident")
    query = {k: given[k] for k in names if k in given}
    verdict = query.get("verdict")
    if verdict is not None and verdict not in _VERDICT_FILTERS:
        raise HTTPException(400, f"verdict: must be one of {', '.join(_VERDICT_FILTERS)}")
    event_filter = EventFilter(
        _parse_time(query, "since"),
        _parse_time(query, "until"),
        query.get("source"),
        _parse_score(query, "min_score"),
        _parse_score(query, "max_score"),
        verdict,
        query.get("incident"),
    )
    return event_filter, query


def _parse_time(query: dict[str, str], name: str) -> float | None:
    if name not in query:
        return None
    try:
        return parse_utc(query[name])
    except ValueError as error:
        raise HTTPException(
            400, f"{name}: not a time. Write it in UTC, for example 2026-11-22T19:54."
        ) from error


def _parse_score(query: dict[str, str], name: str) -> float | None:
    if name not in query:
        return None
    if not re.fullmatch(r"0(\.\d{1,6})?|1(\.0{1,6})?", query[name]):
        raise HTTPException(400, f"{name}: must be a number from 0 to 1, for example 0.75")
    return float(query[name])


def _parse_cursor(request: Request, name: str) -> tuple[float, int] | None:
    match = _CURSOR.fullmatch(request.query_params.get(name, ""))
    return (float(match[1]), int(match[2])) if match else None


def parse_int(request: Request, name: str, default: int, minimum: int, maximum: int) -> int:
    """Return a whole number of the query, clamped, or the default if it is not a number."""
    text = request.query_params.get(name, "")
    valid = text.isascii() and text.isdigit() and len(text) < 6
    return min(maximum, max(minimum, int(text))) if valid else default
