"""The review page as a server: a socket, a thread, and what a daemon tells it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio.to_thread
import uvicorn

from streamdet.config.layers import ConfigError
from streamdet.config.schema import LOOPBACK, Config, WebConfig, is_loopback
from streamdet.daemon import builders as parts_of
from streamdet.daemon.components import DaemonComponents
from streamdet.daemon.event_storage import EventStorage
from streamdet.store.clips import ClipFolder
from streamdet.store.reader import StoreReader
from streamdet.store.store import EventStore, StoreError
from streamdet.web import app
from streamdet.web.guard import AccessToken
from streamdet.web.live import LiveHub, LiveSnapshot
from streamdet.web.views import PageContext, SourceStatus

_WORKERS = 4
_MOST_CONNECTIONS = 150
_LOOK_S = 0.1
_PATIENCE_S = 2.0


class PageError(Exception):
    """The page can't be served; one line."""


class PageServer:
    """An app on an address that is ours from the first moment on; raises PageError."""

    def __init__(self, table: WebConfig, shown: PageContext, token: str | None) -> None:
        host, _, port = table.address.rpartition(":")
        host = host.strip("[]")
        hosts = None
        if is_loopback(table.address) or table.hosts:
            hosts = LOOPBACK | {host.lower()} | {name.lower() for name in table.hosts}
        self._hub = shown.hub
        guarded = app.build_app(shown, AccessToken(token), hosts, tls=table.tls_cert is not None)
        listening: socket.socket | None = None
        try:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            listening = socket.create_server((host, int(port)), family=family)
            self._server = uvicorn.Server(
                uvicorn.Config(
                    guarded, http="h11", ws="none", loop="asyncio", lifespan="off",
                    log_config=None, access_log=False, server_header=False,
                    limit_concurrency=_MOST_CONNECTIONS, timeout_keep_alive=5,
                    timeout_graceful_shutdown=1, h11_max_incomplete_event_size=16_384,
                    ssl_certfile=table.tls_cert, ssl_keyfile=table.tls_key,
                )
            )  # fmt: skip
            self._server.config.load()
        except (OSError, OverflowError, ssl.SSLError) as error:
            if listening is not None:
                listening.close()
            said = getattr(error, "strerror", None) or error
            raise PageError(f"web {table.address}: {said}; choose another address") from error
        self._socket = listening
        self._thread = threading.Thread(target=self._run, name="streamdet-web", daemon=True)

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def close(self) -> None:
        """Stop, and let the address go."""
        self._hub.end()
        self._server.should_exit = True
        if self._thread.ident is not None:
            self._thread.join(_PATIENCE_S)
        self._socket.close()

    def serve(self) -> None:
        """Answer until a signal ends it."""
        asyncio.run(self._serve())

    def _run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        self._hub.begin(asyncio.get_running_loop())
        anyio.to_thread.current_default_thread_limiter().total_tokens = _WORKERS
        await self._server.serve(sockets=[self._socket])


class DaemonPage:
    """The page of a daemon; `told` and `look` are its thread's, and return at once."""

    def __init__(self, server: PageServer, hub: LiveHub) -> None:
        self._server, self._hub = server, hub
        self._looked = 0.0
        self._places: dict[str, tuple[int, int]] = {}

    def start(self) -> None:
        """Begin to answer."""
        self._server.start()

    def close(self) -> None:
        """Stop, and let the address go."""
        self._server.close()

    def publish_event(self, record: dict[str, Any]) -> None:
        """An event's line, as the outputs get it."""
        self._hub.publish("event", {k: record[k] for k in ("id", "phase", "source", "score")})

    def publish_audio(self, parts: DaemonComponents, now: float) -> None:
        """Give those who look on what their sources sound like."""
        if not self._hub.watching or now - self._looked < _LOOK_S:
            return
        self._looked = now
        for ear in parts.sources:
            past = ear.history
            if ear.name not in self._hub.watching or past is None:
                continue
            taken, frame = self._places.get(ear.name, (0, 0))
            if taken > past.taken:  # it was opened anew
                taken = frame = 0
            taken = max(taken, past.taken - past.rate)
            first, samples = past.samples_since(taken)
            grid = past.pipeline.grid
            scores = past.pipeline.history.since(
                max(frame, round((first - 1) / past.rate * grid.rate))
            )
            self._places[ear.name] = (past.taken, past.pipeline.next_frame)
            self._hub.publish_snapshot(
                LiveSnapshot(
                    ear.name, ear.condition.state, ear.level, ear.decision.threshold, samples,
                    past.rate, scores, grid.frame / grid.rate,
                )
            )  # fmt: skip


def open_page(config: Config, evidence: EventStorage, parts: DaemonComponents) -> DaemonPage:
    """A daemon's page, not started; raises ConfigError."""
    if config.web is None:
        raise ConfigError(["web: not configured"])
    _forward(lambda words: parts.log.emit("page_failed", words, "error"))
    hub = LiveHub()

    def heard() -> list[SourceStatus]:
        return [SourceStatus(ear.name, str(ear.condition.state)) for ear in list(parts.sources)]

    def threshold(source: str) -> float | None:
        ears = [ear for ear in list(parts.sources) if ear.name == source]
        return ears[0].decision.threshold if ears else None

    def model() -> str:
        return f"{parts.model.name}/{parts.model.version}"

    evidence.on_attached = lambda event: hub.publish("clip", {"id": event})
    token = parts_of.web_token(config)
    try:
        reader = StoreReader(evidence.store.path)
        shown = PageContext(evidence.store, reader, evidence.folder, hub, heard, threshold, model)
        return DaemonPage(PageServer(config.web, shown, token), hub)
    except (PageError, StoreError) as error:
        raise ConfigError([str(error)]) from error


def serve_alone(path: Path, clips: Path, address: str) -> None:
    """A store's page without a daemon, until a signal; raises PageError."""
    import sys

    try:
        table = WebConfig(address=address)
        store = EventStore(path, aside=False)
        folder = ClipFolder(clips) if clips.is_dir() else None
        hub = LiveHub()
        shown = PageContext(store, StoreReader(path), folder, hub, list, lambda _: None, lambda: "")
        server = PageServer(table, shown, None)
    except (StoreError, ValueError) as error:
        raise PageError(str(error).splitlines()[0]) from error
    _forward(lambda words: sys.stderr.write(f"streamdet: {words}\n"))
    sys.stderr.write(f"streamdet: http://{address}/ ; Ctrl-C ends it\n")
    with contextlib.suppress(KeyboardInterrupt):
        server.serve()
    store.close()


class _Forward(logging.Handler):
    def __init__(self, say: Callable[[str], object]) -> None:
        super().__init__(logging.ERROR)
        self._say = say
        self._said = 0.0

    def emit(self, record: logging.LogRecord) -> None:
        now = time.monotonic()
        if now - self._said > 1.0:  # one that is flooded says the same over and over
            self._said = now
            of = record.exc_info[1] if record.exc_info else None
            self._say(f"web: {record.getMessage()}{f': {of!r}' if of else ''}")


def _forward(say: Callable[[str], object]) -> None:
    logger = logging.getLogger("uvicorn")
    logger.handlers, logger.propagate = [_Forward(say)], False
