"""Access control: host names, tokens, origins and body sizes, and the headers of every answer.

A browser attaches its cookies to requests that a foreign page triggers. A request that changes
something is therefore accepted only if its Origin is this page or is missing, and if it has a
header that a foreign page can't send. A Host header that is not configured is refused, so that a
foreign name can't be pointed at this address (DNS rebinding).
"""

from __future__ import annotations

import hashlib
import hmac
import time
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import cookie_parser
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from streamdet.text import printable

COOKIE, HEADER = "streamdet_session", "x-streamdet"
MAX_BODY_BYTES = 16_384
_SESSION_S = 7 * 86_400
_MAX_ATTEMPTS, _ATTEMPT_WINDOW_S = 10, 60.0
_MAX_HOST_SHOWN = 100
_PUBLIC_PATHS = ("/login", "/static/")
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
    """The access token of the page; None allows everyone.

    A session is a cookie with an expiry time, signed with the token. Sessions survive a restart,
    and a new token ends them all.
    """

    token: str | None
    _failed_at: list[float] = field(default_factory=list)

    def check(self, given: str) -> bool | None:
        """Compare a token. Returns None if there were too many wrong ones in the last minute."""
        now = time.monotonic()
        self._failed_at = [at for at in self._failed_at if now - at < _ATTEMPT_WINDOW_S]
        if len(self._failed_at) >= _MAX_ATTEMPTS:
            return None
        matches = self.token is None or hmac.compare_digest(given.encode(), self.token.encode())
        if not matches:
            self._failed_at.append(now)
        return matches

    def create_session(self) -> str:
        """Return the value of a session cookie."""
        expires = str(int(time.time()) + _SESSION_S)
        return f"{expires}.{self._sign(expires)}"

    def allows(self, headers: Headers) -> bool:
        """Whether a request has the token or a valid session."""
        if self.token is None:
            return True
        authorization = headers.get("authorization", "")
        if authorization.startswith("Bearer "):
            return self.check(authorization.removeprefix("Bearer ")) is True
        session = cookie_parser(headers.get("cookie", "")).get(COOKIE, "")
        expires, _, signature = session.partition(".")
        valid = hmac.compare_digest(signature.encode(), self._sign(expires).encode())
        return valid and expires.isdigit() and int(expires) > time.time()

    def _sign(self, expires: str) -> str:
        key = hashlib.sha256(b"session\0" + (self.token or "").encode()).digest()
        return hmac.new(key, expires.encode(), hashlib.sha256).hexdigest()


class RequestGuard:
    """ASGI middleware that refuses requests before they reach the app.

    ``hosts`` are the accepted names of the Host header; None accepts every name.
    """

    def __init__(
        self, app: ASGIApp, access_token: AccessToken, hosts: frozenset[str] | None
    ) -> None:
        self._app, self._access_token, self._hosts = app, access_token, hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or pass it to the app."""
        if scope["type"] != "http":
            return
        send = _with_security_headers(send)
        refusal = self._refusal(scope)
        if refusal is not None:
            await refusal(scope, receive, send)
            return
        await self._app(scope, _limit_body(receive), send)

    def _refusal(self, scope: Scope) -> Response | None:
        headers, path, method = Headers(scope=scope), scope["path"], scope["method"]
        host = headers.get("host", "")
        if self._hosts is not None and _host_name(host) not in self._hosts:
            name = printable(_host_name(host))[:_MAX_HOST_SHOWN]
            return PlainTextResponse(
                f'This page does not answer to the host name "{name}". Add it to web.hosts.', 421
            )
        if int(headers.get("content-length") or 0) > MAX_BODY_BYTES:
            return PlainTextResponse(_TOO_LARGE, 413, {"Connection": "close"})
        if method not in ("GET", "HEAD"):
            origin = headers.get("origin")
            if origin is not None and _origin_host(origin) != host:
                return PlainTextResponse(
                    "The request comes from another web page. Only this page may change "
                    "anything here.",
                    403,
                )
            if path != "/login" and HEADER not in headers:
                return PlainTextResponse(
                    f"The header {HEADER} is missing. Send it with any value.", 403
                )
        if path.startswith(_PUBLIC_PATHS) or self._access_token.allows(headers):
            return None
        if path.startswith("/api/") or "text/html" not in headers.get("accept", ""):
            return PlainTextResponse(
                'This page needs a token. Send it in the header "Authorization: Bearer TOKEN".',
                401,
                {"WWW-Authenticate": "Bearer"},
            )
        return RedirectResponse("/login", 303)


_TOO_LARGE = f"The request body is too large. The limit is {MAX_BODY_BYTES:,} bytes."


def _limit_body(receive: Receive) -> Receive:
    """Limit a body that is sent in chunks, whose length is not known in advance."""
    remaining = MAX_BODY_BYTES

    async def receive_limited() -> Message:
        nonlocal remaining
        message = await receive()
        remaining -= len(message.get("body", b""))
        if remaining < 0:
            raise HTTPException(413, _TOO_LARGE)
        return message

    return receive_limited


def _with_security_headers(send: Send) -> Send:
    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in _HEADERS.items():
                headers[name] = value
            if "cache-control" not in headers:
                headers["Cache-Control"] = "no-store"
        await send(message)

    return send_with_headers


def _origin_host(origin: str) -> str | None:
    """Return HOST:PORT of an Origin header, or None if it has none."""
    try:
        return urlsplit(origin).netloc or None
    except ValueError:
        return None


def _host_name(host: str) -> str:
    """Return the name of a Host header, without the port."""
    if host.startswith("["):
        return host.partition("]")[0] + "]"
    return host.partition(":")[0].lower()
