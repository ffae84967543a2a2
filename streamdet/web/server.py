"""The server of the review page: its socket and thread, and the connection to a daemon."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio.to_thread
import numpy as np
import uvicorn
from pydantic import ValidationError

from streamdet.config.layers import ConfigError
from streamdet.config.schema import LOOPBACK, Config, WebConfig, is_loopback
from streamdet.constants import RATE
from streamdet.daemon import builders
from streamdet.daemon.components import DaemonComponents
from streamdet.daemon.event_storage import EventStorage
from streamdet.daemon.managed_source import ManagedSource
from streamdet.daemon.source_history import SourceHistory
from streamdet.store.clips import ClipFolder
from streamdet.store.reader import StoreReader
from streamdet.store.store import EventStore, StoreError
from streamdet.web import app
from streamdet.web.guard import AccessToken
from streamdet.web.live import LiveHub, LiveSnapshot
from streamdet.web.views import PageContext, SourceStatus

_WORKER_THREADS = 4
_MAX_CONNECTIONS = 150
_SNAPSHOT_INTERVAL_S = 0.1
_DISCONNECTED_INTERVAL_S = 1.0
_SHUTDOWN_S = 2.0
_ERROR_INTERVAL_S = 1.0


class PageError(Exception):
    """The page can't be served. The message is one line."""


class PageServer:
    """The HTTP server of the page. Binds its address at once; raises PageError if that fails."""

    def __init__(self, config: WebConfig, context: PageContext, token: str | None) -> None:
        host, _, port = config.address.rpartition(":")
        host = host.strip("[]")
        allowed_hosts = None
        if is_loopback(config.address) or config.hosts:
            allowed_hosts = LOOPBACK | {host.lower()} | {name.lower() for name in config.hosts}
        self._hub = context.hub
        tls = config.tls_cert is not None
        guarded_app = app.build_app(context, AccessToken(token), allowed_hosts, tls=tls)
        try:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            self._socket = socket.create_server((host, int(port)), family=family)
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or error
            raise PageError(f"web {config.address}: {reason}. Choose another address.") from error
        self._server = uvicorn.Server(
            uvicorn.Config(
                guarded_app, http="h11", ws="none", loop="asyncio", lifespan="off",
                log_config=None, access_log=False, server_header=False,
                limit_concurrency=_MAX_CONNECTIONS, timeout_keep_alive=5,
                timeout_graceful_shutdown=1, h11_max_incomplete_event_size=16_384,
                ssl_certfile=config.tls_cert, ssl_keyfile=config.tls_key,
            )
        )  # fmt: skip
        try:
            self._server.config.load()
        except (OSError, ssl.SSLError) as error:
            self._socket.close()
            reason = getattr(error, "strerror", None) or error
            raise PageError(
                f"web: the TLS certificate or key can't be loaded: {reason}. "
                "Check web.tls_cert and web.tls_key."
            ) from error
        self._thread = threading.Thread(target=self.serve, name="streamdet-web", daemon=True)

    def start(self) -> None:
        """Serve in a thread."""
        self._thread.start()

    def close(self) -> None:
        """Stop serving and close the socket."""
        self._hub.close()
        self._server.should_exit = True
        if self._thread.ident is not None:
            self._thread.join(_SHUTDOWN_S)
        self._socket.close()

    def serve(self) -> None:
        """Serve until `close` is called or, in the main thread, until a signal."""
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        self._hub.set_loop(asyncio.get_running_loop())
        anyio.to_thread.current_default_thread_limiter().total_tokens = _WORKER_THREADS
        await self._server.serve(sockets=[self._socket])


class DaemonPage:
    """The page of a daemon.

    `publish_event` and `publish_audio` are called from the daemon's thread and return at once.
    """

    def __init__(self, server: PageServer, hub: LiveHub) -> None:
        self._server, self._hub = server, hub
        self._published_at = 0.0
        self._published_sources: dict[str, float] = {}
        self._positions: dict[str, tuple[int, int]] = {}

    def start(self) -> None:
        """Serve in a thread."""
        self._server.start()

    def close(self) -> None:
        """Stop serving and close the socket."""
        self._server.close()

    def publish_event(self, record: dict[str, Any]) -> None:
        """Send an event to the open pages, in the form of `Event.record`."""
        self._hub.publish("event", {k: record[k] for k in ("id", "phase", "source", "score")})

    def publish_audio(self, components: DaemonComponents, now: float) -> None:
        """Send the new audio of each watched source, at most every 0.1 s.

        Of a source that is disconnected, send the state every second.
        """
        if not self._hub.watched_sources or now - self._published_at < _SNAPSHOT_INTERVAL_S:
            return
        self._published_at = now
        for source in components.sources:
            if source.name not in self._hub.watched_sources:
                continue
            since_s = now - self._published_sources.get(source.name, 0.0)
            if source.history is None and since_s < _DISCONNECTED_INTERVAL_S:
                continue
            self._published_sources[source.name] = now
            if source.history is None:
                grid = components.batch.grid
                snapshot = _disconnected_snapshot(source, grid.frame / grid.rate)
            else:
                snapshot = self._next_snapshot(source, source.history)
            self._hub.publish_snapshot(snapshot)

    def _next_snapshot(self, source: ManagedSource, history: SourceHistory) -> LiveSnapshot:
        """Return what came since the previous snapshot, one second at most."""
        sample, frame = self._positions.get(source.name, (0, 0))
        if sample > history.taken:  # the source was opened again
            sample = frame = 0
        sample = max(sample, history.taken - history.rate)
        first_sample, samples = history.samples_since(sample)
        pipeline = history.pipeline
        grid = pipeline.grid
        first_frame = max(frame, round((first_sample - 1) / history.rate * grid.rate))
        self._positions[source.name] = (history.taken, pipeline.next_frame)
        return LiveSnapshot(
            source.name, source.condition.state, source.level, source.threshold, samples,
            history.rate, pipeline.history.since(first_frame), grid.frame / grid.rate,
        )  # fmt: skip


def _disconnected_snapshot(source: ManagedSource, frame_s: float) -> LiveSnapshot:
    return LiveSnapshot(
        source.name, source.condition.state, 0.0, source.threshold,
        np.zeros(0, np.float32), RATE, [], frame_s,
    )  # fmt: skip


def open_page(config: Config, storage: EventStorage, components: DaemonComponents) -> DaemonPage:
    """Create the page of a daemon without starting it. Raises ConfigError."""
    if config.web is None:
        raise ConfigError(["web: not configured"])
    _forward_errors(lambda text: components.log.emit("page_failed", text, "error"))
    hub = LiveHub()

    def sources() -> list[SourceStatus]:
        return [
            SourceStatus(source.name, str(source.condition.state), source.budget)
            for source in list(components.sources)
        ]

    def model() -> str:
        return f"{components.model.name}/{components.model.version}"

    storage.on_attached = lambda event_id: hub.publish("clip", {"id": event_id})
    token = builders.web_token(config)
    try:
        reader = StoreReader(storage.store.path)
        reader.close()  # this thread only checks the file; the threads that read open their own
        context = PageContext(storage.store, reader, storage.folder, hub, sources, model)
        return DaemonPage(PageServer(config.web, context, token), hub)
    except (PageError, StoreError) as error:
        raise ConfigError([str(error)]) from error


def serve_store(path: Path, clips: Path, address: str) -> None:
    """Serve the page of an event store, without a daemon, until a signal. Raises PageError."""
    try:
        config = WebConfig(address=address)
        store = EventStore(path, aside=False)
        folder = ClipFolder(clips) if clips.is_dir() else None
        context = PageContext(store, StoreReader(path), folder, LiveHub(), list, lambda: "")
        server = PageServer(config, context, None)
    except ValidationError as error:
        fault = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise PageError(f"--web {address}: {fault}") from error
    except StoreError as error:
        raise PageError(str(error)) from error
    _forward_errors(lambda text: sys.stderr.write(f"streamdet: {text}\n"))
    sys.stderr.write(f"streamdet: the review page is at http://{address}/ (Ctrl-C stops it)\n")
    with contextlib.suppress(KeyboardInterrupt):
        server.serve()
    store.close()


class _ErrorHandler(logging.Handler):
    """Passes uvicorn's errors to ``report``, at most one a second."""

    def __init__(self, report: Callable[[str], object]) -> None:
        super().__init__(logging.ERROR)
        self._report = report
        self._reported_at = 0.0

    def emit(self, record: logging.LogRecord) -> None:
        now = time.monotonic()
        if now - self._reported_at > _ERROR_INTERVAL_S:
            self._reported_at = now
            cause = record.exc_info[1] if record.exc_info else None
            self._report(f"web: {record.getMessage()}{f': {cause!r}' if cause else ''}")


def _forward_errors(report: Callable[[str], object]) -> None:
    logger = logging.getLogger("uvicorn")
    logger.handlers, logger.propagate = [_ErrorHandler(report)], False
