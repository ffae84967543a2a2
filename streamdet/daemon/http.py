"""Serves /metrics, /healthz and /readyz over HTTP, optionally with a token and TLS."""

from __future__ import annotations

import hmac
import socket
import ssl
import threading
from collections.abc import Callable, Iterable
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import CollectorRegistry, make_wsgi_app

from streamdet.config.schema import HttpConfig
from streamdet.daemon.health import HealthStatus

_TEXT = [("Content-Type", "text/plain; charset=utf-8"), ("Cache-Control", "no-store")]


class HttpError(ValueError):
    """The server cannot be started. The message is one line."""


class MetricsServer:
    """Serves from threads of its own, from `start` until `close`.

    The constructor binds the address and loads the certificate; it raises HttpError if it cannot.
    """

    def __init__(
        self,
        config: HttpConfig,
        token: str | None,
        registry: CollectorRegistry,
        healthy: Callable[[], HealthStatus],
        ready: Callable[[], HealthStatus],
    ) -> None:
        host, _, port = config.address.rpartition(":")
        pages = {"/healthz": healthy, "/readyz": ready}
        app = _App(make_wsgi_app(registry, disable_compression=True), pages, token)
        host = host.strip("[]")
        server_type = _Server6 if ":" in host else _Server
        context = None
        if config.tls_cert is not None and config.tls_key is not None:
            context = _tls_context(str(config.tls_cert), str(config.tls_key))
        try:
            self._server = server_type((host, int(port)), _Handler)
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or error
            raise HttpError(
                f"http {config.address}: {reason}; choose another address, or off"
            ) from error
        self._server.context = context
        self._server.set_app(app)
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.2,), name="streamdet-http", daemon=True
        )

    def start(self) -> None:
        """Start to answer requests."""
        self._thread.start()

    def close(self) -> None:
        """Stop, and release the address."""
        if self._thread.ident is not None:
            self._server.shutdown()
        self._server.server_close()


class _App:
    def __init__(
        self, metrics: Any, pages: dict[str, Callable[[], HealthStatus]], token: str | None
    ) -> None:
        self._metrics, self._pages, self._token = metrics, pages, token

    def __call__(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        path, method = environ.get("PATH_INFO", ""), environ.get("REQUEST_METHOD", "")
        if path != "/healthz" and not self._allowed(environ.get("HTTP_AUTHORIZATION", "")):
            start("401 Unauthorized", [*_TEXT, ("WWW-Authenticate", "Bearer")])
            return [b"missing or wrong token; send Authorization: Bearer TOKEN\n"]
        if method not in ("GET", "HEAD"):
            start("405 Method Not Allowed", [*_TEXT, ("Allow", "GET, HEAD")])
            return [b"use GET or HEAD\n"]
        if path == "/metrics":
            return self._metrics(environ, start)
        if path not in self._pages:
            start("404 Not Found", [*_TEXT])
            return [b"not found; try /metrics, /healthz or /readyz\n"]
        status = self._pages[path]()
        start("200 OK" if status.ok else "503 Service Unavailable", [*_TEXT])
        return [] if method == "HEAD" else [status.text.encode() + b"\n"]

    def _allowed(self, header: str) -> bool:
        if self._token is None:
            return True
        token = header.removeprefix("Bearer ").encode("utf-8", "surrogateescape")
        return header.startswith("Bearer ") and hmac.compare_digest(token, self._token.encode())


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    request_queue_size = 16
    _MAX_CONNECTIONS = 32

    def __init__(self, *args: Any) -> None:
        self.context: ssl.SSLContext | None = None
        self._slots = threading.BoundedSemaphore(self._MAX_CONNECTIONS)
        super().__init__(*args)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Start a thread for the connection, or close it if there are too many."""
        if not self._slots.acquire(blocking=False):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Do the TLS handshake in the connection's own thread, so that it delays no other."""
        try:
            request.settimeout(_Handler.timeout)
            if self.context is not None:
                request = self.context.wrap_socket(request, server_side=True)
            super().process_request_thread(request, client_address)
        except OSError:
            self.shutdown_request(request)
        finally:
            self._slots.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore connections that break off."""


class _Server6(_Server):
    address_family = socket.AF_INET6


class _Handler(WSGIRequestHandler):
    timeout = 5.0
    server_version = "streamdet"

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are not logged."""


def _tls_context(cert: str, key: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(cert, key)
    except OSError as error:  # ssl.SSLError is one
        raise HttpError(
            f"http: the TLS certificate or key can't be loaded: {error.strerror or error}. "
            "Check http.tls_cert and http.tls_key."
        ) from error
    return context
