"""The routes of the review page, and the JSON, audio and stream behind them."""

from __future__ import annotations

import base64
import json
import logging
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
from streamdet.web.live import MAX_LIVE_SOURCES, MAX_VIEWERS
from streamdet.web.thresholds import threshold_record
from streamdet.web.views import PAGE_SIZE, PageContext, Views, parse_filter, parse_int

_VERDICT_FIELDS = ("verdict", "cause", "note", "reviewer")
_SESSION_S = 7 * 86_400


class _EventIdConvertor(Convertor[str]):
    """Lets only event ids into a path parameter."""

    regex = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


register_url_convertor("event", _EventIdConvertor())


class EventApi:
    """The endpoints below /api, for the page's script and for other programs."""

    def __init__(self, context: PageContext) -> None:
        self._context = context

    def events(self, request: Request) -> Response:
        """The newest events that match the query, as a JSON list."""
        event_filter, _ = parse_filter(request)
        limit = parse_int(request, "limit", PAGE_SIZE, 1, 1_000)
        events = self._context.reader.page(event_filter, limit).events
        return JSONResponse([stored.record() for stored in events])

    def event(self, request: Request) -> Response:
        """One event with its score curve and the history of its verdicts."""
        stored = self._requested_event(request)
        record = stored.record() | {"curve": stored.curve}
        record["reviews"] = self._context.reader.history(stored.event.id)
        return JSONResponse(record)

    async def review(self, request: Request) -> Response:
        """Save a verdict, given as a JSON object: verdict, cause, note, reviewer."""
        if request.headers.get("content-type", "").partition(";")[0] != "application/json":
            raise HTTPException(415, "The body must be JSON. Set Content-Type: application/json.")
        try:
            fields = json.loads(await request.body())
            if not isinstance(fields, dict):
                raise ValueError("the body must be a JSON object")
            if unknown := fields.keys() - set(_VERDICT_FIELDS):
                raise ValueError(
                    f"unknown fields: {', '.join(sorted(unknown))}. "
                    f"Allowed are {', '.join(_VERDICT_FIELDS)}."
                )
            if not all(value is None or isinstance(value, str) for value in fields.values()):
                raise ValueError("every field must be a string or null")
            verdict = Verdict(**{"verdict": "", **fields})
        except (ValueError, RecursionError) as error:
            raise HTTPException(400, str(error)) from error
        event_id = request.path_params["event_id"]
        await run_in_threadpool(self._context.store.review, event_id, verdict)
        message = {"id": event_id, "verdict": verdict.verdict, "cause": verdict.cause}
        self._context.hub.publish("review", message)
        return JSONResponse(message)

    def picture(self, request: Request) -> Response:
        """The spectrogram of an event: ``levels`` is base64 of (frames, bands) uint8."""
        spectrogram = self._context.reader.spectrogram(self._requested_event(request).event.id)
        if spectrogram is None:
            return Response(status_code=204)
        return JSONResponse(
            {
                "bands": spectrogram.bands,
                "hop_s": spectrogram.hop_s,
                "onset_s": round(spectrogram.onset_s, 3),
                "levels": base64.b64encode(spectrogram.levels.tobytes()).decode(),
            }
        )

    def clip(self, request: Request) -> Response:
        """The clip of an event, as FLAC."""
        stored = self._requested_event(request)
        clips = self._context.clips
        path = None if clips is None else clips.path(stored.event.id)
        if not stored.clip or path is None or not path.is_file():
            raise HTTPException(404, "This event has no clip.")
        return FileResponse(
            path, media_type="audio/flac", filename=path.name, content_disposition_type="inline"
        )

    def delete_clip(self, request: Request) -> Response:
        """Delete the clip of an event. The event stays."""
        event_id = self._requested_event(request).event.id
        self._context.store.drop_clip(event_id)
        if self._context.clips is not None:
            self._context.clips.remove(event_id)
        self._context.hub.publish("clip", {"id": event_id})
        return Response(status_code=204)

    def thresholds(self, request: Request) -> Response:
        """The thresholds of the daemon's sources and their backgrounds, as a JSON list."""
        source = request.query_params.get("source") or None
        return JSONResponse(
            [
                threshold_record(status.name, status.budget)
                for status in self._context.sources()
                if source in (None, status.name)
            ]
        )

    async def stream(self, request: Request) -> Response:
        """Server-sent events: ``event``, ``clip``, ``review``, and ``live`` per ``live=SOURCE``."""
        if self._context.hub.full:
            return PlainTextResponse(
                f"{MAX_VIEWERS} pages are open, which is the limit. Close one, or wait 10 seconds.",
                503,
                {"Retry-After": "10"},
            )
        live = frozenset(request.query_params.getlist("live")[:MAX_LIVE_SOURCES])
        return StreamingResponse(
            self._context.hub.messages(live), media_type="text/event-stream",
            headers={"X-Accel-Buffering": "no"},
        )  # fmt: skip

    def _requested_event(self, request: Request) -> StoredEvent:
        return self._context.reader.event(request.path_params["event_id"])


def build_app(
    context: PageContext, access_token: AccessToken, hosts: frozenset[str] | None, *, tls: bool
) -> ASGIApp:
    """Build the app with its guard. ``tls`` marks the session cookie as secure."""
    views, api = Views(context), EventApi(context)

    async def log_in(request: Request) -> Response:
        form = parse_qs((await request.body()).decode("utf-8", "replace"))
        match access_token.check(form.get("token", [""])[0]):
            case True:
                response = RedirectResponse("/", 303)
                response.set_cookie(
                    COOKIE, access_token.create_session(), httponly=True, samesite="strict",
                    secure=tls, path="/", max_age=_SESSION_S,
                )  # fmt: skip
                return response
            case False:
                return views.login(request, error="Wrong token. Try again.", status=403)
            case None:
                return views.login(
                    request, error="Too many wrong tokens. Wait a minute.", status=429
                )

    async def handle_error(request: Request, error: Exception) -> Response:
        status, message = _describe_error(error)
        if isinstance(error, StoreError) and status == 503:
            logging.getLogger("uvicorn.error").error("%s", error)
        if request.url.path.startswith("/api/"):
            return JSONResponse({"error": message}, status)
        return views.error(request, status, message)

    event = "/{event_id:event}"
    routes: list[Any] = [
        Route("/", views.live),
        Route("/login", views.login, methods=["GET"]),
        Route("/login", log_in, methods=["POST"]),
        Route("/events", views.events),
        Route("/events" + event, views.event),
        Route("/events" + event + "/card", views.card),
        Route("/day", views.day),
        Route("/day/{day}", views.day),
        Route("/precision", views.precision),
        Route("/thresholds", views.thresholds),
        Route("/api/events", api.events),
        Route("/api/events" + event, api.event),
        Route("/api/events" + event + "/verdict", api.review, methods=["POST"]),
        Route("/api/events" + event + "/picture", api.picture),
        Route("/api/events" + event + "/clip", api.clip, methods=["GET"]),
        Route("/api/events" + event + "/clip", api.delete_clip, methods=["DELETE"]),
        Route("/api/thresholds", api.thresholds),
        Route("/api/stream", api.stream),
        Mount("/static", StaticFiles(directory=Path(__file__).parent / "static")),
    ]
    app = Starlette(
        routes=routes,
        exception_handlers=dict.fromkeys((HTTPException, StoreError, Exception), handle_error),
    )
    return RequestGuard(app, access_token, hosts)


def _describe_error(error: Exception) -> tuple[int, str]:
    """Return the status of an error, and what the page says about it."""
    if isinstance(error, UnknownEventError):
        return 404, "There is no event with this id. It may have been pruned."
    if isinstance(error, StoreError):
        return 503, "The event store can't be read or written. See the log of streamdet."
    if (
        isinstance(error, HTTPException)
        and error.status_code == 404
        and error.detail == "Not Found"
    ):
        return 404, "There is no page at this address."
    if isinstance(error, HTTPException):
        return error.status_code, error.detail
    return 500, "An internal error occurred. See the log of streamdet."
