"""The routes, and what of them is JSON, sound or a stream."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.convertors import Convertor, register_url_convertor
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import (
    FileResponse,
    JSONResponse,
    PlainTextResponse,
    RedirectResponse,
    Response,
    StreamingResponse,
)
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from streamdet.store.reader import StoredEvent
from streamdet.store.store import StoreError, UnknownEventError
from streamdet.store.verdict import Verdict
from streamdet.web.guard import COOKIE, AccessToken, RequestGuard
from streamdet.web.live import MAX_LIVE
from streamdet.web.views import PAGE, PageContext, Views, parse_filter, parse_int

_FIELDS = ("verdict", "cause", "note", "reviewer")


class _Id(Convertor[str]):
    """An event's id and nothing else comes through a path."""

    regex = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


register_url_convertor("event", _Id())


class EventApi:
    """What pages and programs ask for in JSON."""

    def __init__(self, shown: PageContext) -> None:
        self._shown = shown

    def events(self, request: Request) -> Response:
        """The newest that are wanted."""
        wanted, _ = parse_filter(request)
        limit = parse_int(request, "limit", PAGE, 1, 1_000)
        found = self._shown.reader.page(wanted, limit).events
        return JSONResponse([stored.record() for stored in found])

    def event(self, request: Request) -> Response:
        """All that is known of one."""
        stored = self._stored(request)
        record = stored.record() | {"curve": stored.curve}
        record["reviews"] = self._shown.reader.history(stored.event.id)
        return JSONResponse(record)

    async def review(self, request: Request) -> Response:
        """Take a verdict: ``{"verdict": ..., "cause": ..., "note": ..., "reviewer": ...}``."""
        if request.headers.get("content-type", "").partition(";")[0] != "application/json":
            raise HTTPException(415, "JSON is wanted")
        try:
            told = json.loads(await request.body())
            if not isinstance(told, dict):
                raise ValueError("an object is wanted")
            if unknown := told.keys() - set(_FIELDS):
                raise ValueError(f"unknown: {', '.join(sorted(unknown))}")
            if not all(value is None or isinstance(value, str) for value in told.values()):
                raise ValueError("texts are wanted")
            said = Verdict(**{"verdict": "", **told})
        except (ValueError, RecursionError) as error:
            raise HTTPException(400, str(error)) from error
        event = request.path_params["event"]
        await run_in_threadpool(self._shown.store.review, event, said)
        self._shown.hub.publish(
            "review", {"id": event, "verdict": said.verdict, "cause": said.cause}
        )
        return JSONResponse({"id": event, "verdict": said.verdict, "cause": said.cause})

    def picture(self, request: Request) -> Response:
        """Its spectrogram: the levels in base64, a frame after another."""
        made = self._shown.reader.spectrogram(self._stored(request).event.id)
        if made is None:
            return Response(status_code=204)  # not yet, or none is kept
        return JSONResponse(
            {
                "bands": made.bands,
                "hop_s": made.hop_s,
                "onset_s": round(made.onset_s, 3),
                "levels": base64.b64encode(made.levels.tobytes()).decode(),
            }
        )

    def clip(self, request: Request) -> Response:
        """Its sound, if it was kept."""
        stored = self._stored(request)
        path = None if self._shown.clips is None else self._shown.clips.path(stored.event.id)
        if not stored.clip or path is None or not path.is_file():
            raise HTTPException(404, "no clip was kept")
        return FileResponse(
            path, media_type="audio/flac", filename=path.name, content_disposition_type="inline"
        )

    def drop_clip(self, request: Request) -> Response:
        """Delete its sound, and keep the event."""
        event = self._stored(request).event.id
        self._shown.store.drop_clip(event)
        if self._shown.clips is not None:
            self._shown.clips.remove(event)
        self._shown.hub.publish("clip", {"id": event})
        return Response(status_code=204)

    async def stream(self, request: Request) -> Response:
        """Server-sent events: ``event``, ``clip`` and ``review``, and for each ``live=SOURCE``
        what it sounds like."""
        if self._shown.hub.full:
            return PlainTextResponse("too many pages are open", 503, {"Retry-After": "10"})
        live = frozenset(request.query_params.getlist("live")[:MAX_LIVE])
        return StreamingResponse(
            self._shown.hub.messages(live), media_type="text/event-stream",
            headers={"X-Accel-Buffering": "no"},
        )  # fmt: skip

    def _stored(self, request: Request) -> StoredEvent:
        return self._shown.reader.event(request.path_params["event"])


def build_app(
    shown: PageContext, lock: AccessToken, hosts: frozenset[str] | None, *, tls: bool
) -> ASGIApp:
    """The whole app behind its guard."""
    views, api = Views(shown), EventApi(shown)

    async def login(request: Request) -> Response:
        form = parse_qs((await request.body()).decode("utf-8", "replace"))
        opened = lock.check(form.get("token", [""])[0])
        if opened:
            answer = RedirectResponse("/", 303)
            answer.set_cookie(
                COOKIE, lock.session(), httponly=True, samesite="strict", secure=tls, path="/",
                max_age=7 * 86_400,
            )  # fmt: skip
            return answer
        wrong = "That is not the token." if opened is False else "Too many tries; wait a minute."
        return views.login(request, wrong=wrong, status=403 if opened is False else 429)

    async def refused(request: Request, error: Exception) -> Response:
        status, words = 500, "something went wrong"
        if isinstance(error, HTTPException):
            status, words = error.status_code, error.detail
        elif isinstance(error, UnknownEventError):
            status, words = 404, "no such event"
        elif isinstance(error, StoreError):
            status, words = 503, "the event store does not answer; see the log"
        if request.url.path.startswith("/api/"):
            return JSONResponse({"error": words}, status)
        return views.error(request, status, words)

    event = "/{event:event}"
    routes: list[Any] = [
        Route("/", views.live),
        Route("/login", views.login, methods=["GET"]),
        Route("/login", login, methods=["POST"]),
        Route("/events", views.events),
        Route("/events" + event, views.event),
        Route("/events" + event + "/card", views.card),
        Route("/day", views.day),
        Route("/day/{day}", views.day),
        Route("/precision", views.precision),
        Route("/api/events", api.events),
        Route("/api/events" + event, api.event),
        Route("/api/events" + event + "/verdict", api.review, methods=["POST"]),
        Route("/api/events" + event + "/picture", api.picture),
        Route("/api/events" + event + "/clip", api.clip, methods=["GET"]),
        Route("/api/events" + event + "/clip", api.drop_clip, methods=["DELETE"]),
        Route("/api/stream", api.stream),
        Mount("/static", StaticFiles(directory=Path(__file__).parent / "static")),
    ]
    app = Starlette(
        routes=routes,
        exception_handlers={HTTPException: refused, StoreError: refused},
    )
    return RequestGuard(app, lock, hosts)
