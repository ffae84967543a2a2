"""Who may ask, and how much: names, tokens, origins, sizes; and what every answer says.

A browser sends what it knows of a page to whoever made it do so. So whatever changes something must
come from a page of ours (its Origin is ours, or there is none, and it has a header that a foreign
page can't send), and a name that is not ours is not answered, whatever it resolves to.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import cookie_parser
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

COOKIE, HEADER = "streamdet_session", "x-streamdet"
MOST_BODY = 16_384
_SESSION_S = 7 * 86_400
_TRIES, _TRIES_S = 10, 60.0
_OPEN = ("/login", "/static/")
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "media-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; "
        "frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "microphone=(), camera=(), geolocation=()",
}


@dataclass
class AccessToken:
    """The token, if one is wanted, and the sessions of those who knew it: a cookie has its end and
    a signature by the token, so that a restart ends none and another token ends all."""

    token: str | None
    _tries: list[float] = field(default_factory=list)

    def check(self, given: str) -> bool | None:
        """Whether this is the token; None after too many that were not."""
        now = time.monotonic()
        self._tries = [at for at in self._tries if now - at < _TRIES_S]
        if len(self._tries) >= _TRIES:
            return None
        right = self.token is None or hmac.compare_digest(given.encode(), self.token.encode())
        if not right:
            self._tries.append(now)
        return right

    def session(self) -> str:
        """A cookie for whoever knew it."""
        until = str(int(time.time()) + _SESSION_S)
        return f"{until}.{self._signed(until)}"

    def allows(self, headers: Headers) -> bool:
        """Whether a request shows the token or a session."""
        if self.token is None:
            return True
        bearer = headers.get("authorization", "")
        if bearer.startswith("Bearer "):
            return self.check(bearer.removeprefix("Bearer ")) is True
        until, _, signed = cookie_parser(headers.get("cookie", "")).get(COOKIE, "").partition(".")
        right = hmac.compare_digest(signed.encode(), self._signed(until).encode())
        return right and until.isdigit() and int(until) > time.time()

    def _signed(self, until: str) -> str:
        key = hashlib.sha256(b"session\0" + (self.token or "").encode()).digest()
        return hmac.new(key, until.encode(), hashlib.sha256).hexdigest()


class RequestGuard:
    """ASGI, around the app. ``hosts`` are the names it answers to; None: to any."""

    def __init__(self, app: ASGIApp, lock: AccessToken, hosts: frozenset[str] | None) -> None:
        self._app, self._lock, self._hosts = app, lock, hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or have it answered."""
        if scope["type"] != "http":
            return
        guarded = _with_headers(send)
        refusal = self._refused(scope)
        if refusal is not None:
            await refusal(scope, receive, guarded)
            return
        try:
            await self._app(scope, _bounded(receive), guarded)
        except _TooLargeError:
            await PlainTextResponse("too large", 413)(scope, receive, guarded)

    def _refused(self, scope: Scope) -> Response | None:
        headers, path, method = Headers(scope=scope), scope["path"], scope["method"]
        host = headers.get("host", "")
        if self._hosts is not None and _name(host) not in self._hosts:
            return PlainTextResponse("not a name of this page", 421)
        if int(headers.get("content-length") or 0) > MOST_BODY:
            return PlainTextResponse("too large", 413, {"Connection": "close"})
        if method not in ("GET", "HEAD"):
            origin = headers.get("origin")
            if origin is not None and _netloc(origin) != host:
                return PlainTextResponse("from another page", 403)
            if path != "/login" and HEADER not in headers:
                return PlainTextResponse(f"wants the header {HEADER}", 403)
        if path.startswith(_OPEN) or self._lock.allows(headers):
            return None
        if path.startswith("/api/") or "text/html" not in headers.get("accept", ""):
            return PlainTextResponse("a token is wanted", 401, {"WWW-Authenticate": "Bearer"})
        return RedirectResponse("/login", 303)


class _TooLargeError(Exception):
    pass


def _bounded(receive: Receive) -> Receive:
    left = MOST_BODY

    async def limited() -> Message:
        nonlocal left
        message = await receive()
        left -= len(message.get("body", b""))
        if left < 0:
            raise _TooLargeError
        return message

    return limited


def _with_headers(send: Send) -> Send:
    async def answered(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in _HEADERS.items():
                headers[name] = value
            if "cache-control" not in headers:
                headers["Cache-Control"] = "no-store"
        await send(message)

    return answered


def _netloc(origin: str) -> str | None:
    """HOST:PORT of an Origin header; None for what is none."""
    try:
        return urlsplit(origin).netloc or None
    except ValueError:
        return None


def _name(host: str) -> str:
    """The host of a Host header, without its port."""
    if host.startswith("["):
        return host.partition("]")[0] + "]"
    return host.partition(":")[0].lower()
