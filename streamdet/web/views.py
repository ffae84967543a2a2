"""The pages: what each shows, put together from the store and handed to its template."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.templating import Jinja2Templates

from streamdet.detection.event import format_utc, parse_utc
from streamdet.formats.table import format_clock
from streamdet.store.clips import ClipFolder
from streamdet.store.reader import EventFilter, StoredEvent, StoreReader
from streamdet.store.store import EventStore
from streamdet.store.verdict import CAUSES, VERDICTS
from streamdet.web import charts
from streamdet.web.live import MAX_LIVE, LiveHub

PAGE = 25
BINS = 200
_CLIP_S = 30.0
_SAID = (*VERDICTS, "none", "any")
_CURSOR = re.compile(r"(\d{1,12}(?:\.\d{1,9})?)_(\d{1,15})")


@dataclass(frozen=True)
class SourceStatus:
    """A source of the daemon: what it is called, and its state in a word."""

    name: str
    state: str


@dataclass(frozen=True)
class PageContext:
    """What the pages are made of; without a daemon ``sources`` gives none."""

    store: EventStore
    reader: StoreReader
    clips: ClipFolder | None
    hub: LiveHub
    sources: Callable[[], list[SourceStatus]]
    threshold: Callable[[str], float | None]
    model: Callable[[], str]


def templates() -> Jinja2Templates:
    """The templates, with what all of them use."""
    made = Jinja2Templates(directory=Path(__file__).parent / "templates")
    made.env.globals |= {"causes": CAUSES, "curve": charts.curve, "clock": format_clock}
    made.env.filters |= {"utc": format_utc}
    made.env.trim_blocks = made.env.lstrip_blocks = True
    return made


class Views:
    """Each method is a page; they run in worker threads."""

    def __init__(self, shown: PageContext) -> None:
        self.shown, self._templates = shown, templates()

    def live(self, request: Request) -> Response:
        """What is heard now, and what was heard last."""
        heard = self.shown.sources()
        page = parse_int(request, "page", 0, 0, 1_000)
        part = heard[page * MAX_LIVE : (page + 1) * MAX_LIVE]
        newest = self.shown.reader.page(EventFilter(), 5).events
        pages = -(-len(heard) // MAX_LIVE)
        return self._page(
            request, "live.html", here="live", heard=part, events=newest, page=page, pages=pages,
            thresholds={source.name: self.shown.threshold(source.name) for source in part},
        )  # fmt: skip

    def events(self, request: Request) -> Response:
        """The list, by filters, a page at a time."""
        wanted, asked = parse_filter(request)
        before, after = _cursor(request, "before"), _cursor(request, "after")
        found = self.shown.reader.page(wanted, PAGE, before, after)

        def at(stored: StoredEvent, way: str) -> str:
            return urlencode({**asked, way: f"{stored.at_s!r}_{stored.seq}"})

        events = found.events
        return self._page(
            request, "events.html", here="events", events=events, asked=asked,
            names=self.shown.reader.sources(),
            total=self.shown.reader.count(wanted),
            newer=at(events[0], "after") if events and found.newer else None,
            older=at(events[-1], "before") if events and found.older else None,
        )  # fmt: skip

    def event(self, request: Request) -> Response:
        """One event, with all that was said of it."""
        stored = self._stored(request)
        edge = (stored.at_s, stored.seq)
        older = self.shown.reader.page(EventFilter(), 1, before=edge).events
        newer = self.shown.reader.page(EventFilter(), 1, after=edge).events
        of = EventFilter(incident=stored.incident or "none")
        return self._page(
            request, "event.html", here="events", stored=stored,
            incident=self.shown.reader.count(of),
            history=self.shown.reader.history(stored.event.id),
            older=older[0].event.id if older else None,
            newer=newer[0].event.id if newer else None,
        )  # fmt: skip

    def card(self, request: Request) -> Response:
        """One event as the list shows it, for a list that is open."""
        return self._page(request, "card.html", stored=self._stored(request))

    def day(self, request: Request) -> Response:
        """A day's timeline, UTC."""
        text = request.path_params.get("day") or datetime.now(UTC).date().isoformat()
        try:
            day = date.fromisoformat(text)
            start = datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()
            beside = (day - timedelta(days=1), day + timedelta(days=1))
        except (ValueError, OverflowError) as error:
            raise HTTPException(404, "no such day") from error
        wanted = EventFilter(start, start + 86_400)
        rows = self.shown.reader.counts_by_slot(wanted, start, charts.SLOT_S)
        return self._page(
            request, "day.html", here="day", day=day, before=beside[0], after=beside[1],
            lanes=charts.lanes(rows, day), slots=charts.SLOTS, slot_s=charts.SLOT_S,
            total=sum(row[2] for row in rows),
        )  # fmt: skip

    def precision(self, request: Request) -> Response:
        """How much of what was told was true, and what another threshold would have told."""
        source = request.query_params.get("source") or None
        days = parse_int(request, "days", 30, 7, 365)
        today = datetime.now(UTC).date()
        since = datetime.now(UTC).timestamp() - days * 86_400
        wanted = EventFilter(since, source=source)
        bins = self.shown.reader.score_histogram(wanted, BINS)
        asked = request.query_params.get("threshold", "")
        threshold = float(asked) if re.fullmatch(r"[01](\.\d{1,4})?", asked) else 0.5
        chart = charts.daily(self.shown.reader.counts_by_day(wanted), today, days)
        return self._page(
            request, "precision.html", here="precision", source=source, days=days, chart=chart,
            names=self.shown.reader.sources(), bins=bins, kept=charts.split_at_threshold(bins, threshold),
            yes=sum(day.true for day in chart), no=sum(day.false for day in chart),
            most=max((day.events for day in chart), default=0),
        )  # fmt: skip

    def login(self, request: Request, *, wrong: str = "", status: int = 200) -> Response:
        """Where the token is asked for."""
        return self._page(request, "login.html", status=status, wrong=wrong)

    def error(self, request: Request, status: int, words: str) -> Response:
        """What went wrong, in words."""
        return self._page(request, "error.html", status=status, code=status, words=words)

    def _awaited(self, stored: StoredEvent) -> bool:
        """Whether its clip may still come: its post-roll is being heard."""
        young = time.time() - stored.at_s < _CLIP_S
        return self.shown.clips is not None and stored.event.unix_s is not None and young

    def _stored(self, request: Request) -> StoredEvent:
        return self.shown.reader.event(request.path_params["event"])

    def _page(self, request: Request, name: str, *, status: int = 200, **context: Any) -> Response:
        context |= {"model": self.shown.model(), "awaited": self._awaited}
        return self._templates.TemplateResponse(request, name, context, status_code=status)


def parse_filter(request: Request) -> tuple[EventFilter, dict[str, str]]:
    """The filter of a query, and the query without what is empty; raises HTTPException for what
    is no filter."""
    given = {k: v.strip() for k, v in request.query_params.items() if v.strip()}
    names = ("since", "until", "source", "min_score", "max_score", "verdict", "incident")
    asked = {k: given[k] for k in names if k in given}
    try:
        since, until = _moment(asked.get("since")), _moment(asked.get("until"))
        least, most = _score(asked.get("min_score")), _score(asked.get("max_score"))
    except ValueError as error:
        raise HTTPException(400, str(error)) from error
    verdict = asked.get("verdict")
    if verdict is not None and verdict not in _SAID:
        raise HTTPException(400, f"verdict: one of {', '.join(_SAID)}")
    wanted = EventFilter(
        since, until, asked.get("source"), least, most, verdict, asked.get("incident")
    )
    return wanted, asked


def _moment(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        return parse_utc(text)
    except ValueError as error:
        raise ValueError("a time is written 2026-11-22T19:54 (UTC)") from error


def _score(text: str | None) -> float | None:
    if text is None:
        return None
    if not re.fullmatch(r"[01](\.\d{1,6})?", text):
        raise ValueError("a score is a number from 0 to 1")
    return float(text)


def _cursor(request: Request, name: str) -> tuple[float, int] | None:
    match = _CURSOR.fullmatch(request.query_params.get(name, ""))
    return (float(match[1]), int(match[2])) if match else None


def parse_int(request: Request, name: str, default: int, least: int, most: int) -> int:
    """A whole number of the query, brought within its bounds; the default for what is none."""
    text = request.query_params.get(name, "")
    fits = text.isascii() and text.isdigit() and len(text) < 6
    return min(most, max(least, int(text))) if fits else default
